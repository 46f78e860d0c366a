-- One read of a room: everything since the given positions, at one moment.
-- KEYS: meta, log, state, own, chat, chat:all, viewers, likes.
-- ARGV: room, seq held, state version held, own position held, chat id held, chat:all id held ('' = not wanted), hub, its viewers, their time to live ms
-- Answer: {epoch, fence, seq, sv, own, events, state or {}, own entries, chat, chat:all, viewers, likes, now}
local META, LOG, STATE = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Only a room that exists: a hello may name anything.
if ARGV[7] ~= '' and redis.call('HEXISTS', META, 'epoch') == 1 then redis.call('HSET', KEYS[7], ARGV[7], ARGV[8] .. '|' .. string.format('%d', now + tonumber(ARGV[9]))) end
local viewers = 0
local hubs = redis.call('HGETALL', KEYS[7])
for i = 1, #hubs, 2 do
  local count, till = hubs[i + 1]:match('^(%d+)|(%d+)$')
  if tonumber(till) >= now then viewers = viewers + tonumber(count) else redis.call('HDEL', KEYS[7], hubs[i]) end
end
local meta = redis.call('HMGET', META, 'epoch', 'fence', 'seq', 'sv', 'own')
local function since(key, position, newest, most)
  if newest <= position then return {} end
  return redis.call('XRANGE', key, string.format('(%d-0', position), '+', 'COUNT', most)
end
-- An entry of `own` holds some news, and its id is the position of the last: so many positions, not so many entries.
local function own_since(position, newest, most)
  if newest <= position then return {} end
  return redis.call('XRANGE', KEYS[4], string.format('(%d-0', position), string.format('%d-0', position + most))
end
local seq, sv, own = tonumber(meta[3] or 0), tonumber(meta[4] or 0), tonumber(meta[5] or 0)
local state = {}
if sv ~= tonumber(ARGV[3]) then state = redis.call('HGETALL', STATE) end
local all = {}
if ARGV[6] ~= '' then all = redis.call('XRANGE', KEYS[6], '(' .. ARGV[6], '+', 'COUNT', 500) end
return {meta[1] or '', meta[2] or '', seq, sv, own, since(LOG, tonumber(ARGV[2]), seq, 1000), state, own_since(tonumber(ARGV[4]), own, 5000),
  redis.call('XRANGE', KEYS[5], '(' .. ARGV[5], '+', 'COUNT', 500), all, viewers, tonumber(redis.call('GET', KEYS[8]) or 0), now}
