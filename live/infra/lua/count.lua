-- A state key whose version was taken in SQL: only a newer one is shown.
-- KEYS: meta, log, state. ARGV: room, key, version, value. Answer: 1 shown, 0 older.
-- include: live.infra/room
if redis.call('HEXISTS', META, 'fence') == 0 then return -2 end
local field = 'count:' .. ARGV[2]
if tonumber(redis.call('HGET', META, field) or 0) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', META, field, ARGV[3])
local offer = ARGV[2]:match(':(.*)$') -- nil: of the room itself
if offer and redis.call('HEXISTS', STATE, 'offer:' .. offer) == 0 then return 0 end -- it was taken off the shelf
put(ARGV[2], ARGV[4])
nudge()
return 1
