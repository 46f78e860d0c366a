-- How every script writes a room. KEYS[1] meta, KEYS[2] log, KEYS[3] state. Only scripts write a room, so there is no event without its
-- change and no change without its event.
-- include: live.infra/nudge
local LOG, STATE = KEYS[2], KEYS[3]

-- A critical event: the next seq is its stream id, so the log has no holes. 10,000 entries cover the promised window of 5,000.
local function emit(kind, body)
  local seq = redis.call('HINCRBY', META, 'seq', 1)
  redis.call('XADD', LOG, 'MAXLEN', '~', 10000, string.format('%d-0', seq), 't', kind, 'd', body, 'at', now)
  urgent = true
end

-- A state key: the newest version wins. `null` takes it away.
local function put(key, value)
  local version = redis.call('HINCRBY', META, 'sv', 1)
  if value == 'null' then redis.call('HDEL', STATE, key) else redis.call('HSET', STATE, key, string.format('[%d,%s]', version, value)) end
  told = true
end
