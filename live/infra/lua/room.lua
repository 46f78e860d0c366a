-- How every script writes a room. KEYS[1] meta, KEYS[2] log, KEYS[3] state. Only scripts write a room, so there is no event without its
-- change and no change without its event. ARGV[1] is the room's name, for the nudge channel.
local META, LOG, STATE = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told = false

-- A critical event: the next seq is its stream id, so the log has no holes. 10,000 entries cover the promised window of 5,000.
local function emit(kind, body)
  local seq = redis.call('HINCRBY', META, 'seq', 1)
  redis.call('XADD', LOG, 'MAXLEN', '~', 10000, string.format('%d-0', seq), 't', kind, 'd', body, 'at', now)
  told = true
end

-- A state key: the newest version wins. `null` takes it away.
local function put(key, value)
  local version = redis.call('HINCRBY', META, 'sv', 1)
  if value == 'null' then redis.call('HDEL', STATE, key) else redis.call('HSET', STATE, key, string.format('[%d,%s]', version, value)) end
  told = true
end

local function nudge()
  if told then redis.call('PUBLISH', '{' .. ARGV[1] .. '}:nudge', '1') end
end
