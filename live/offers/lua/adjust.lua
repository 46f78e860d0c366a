-- A movement the shop booked (release, restock, more or less stock) reaches the turnstile. Anything at or below the last applied
-- move_no of its place was applied before and is ignored.
-- KEYS: meta, log, state, the offer's hash, its `used` hash.
-- ARGV: room, offer id, place, move_no, change of left, person ('' for none), change of the person's units, change of seats
-- Answer: 1 applied, 0 seen before, -1 the offer is not here (a rebuild will bring it with the movement in it).
-- include: live.infra/room
-- include: live.infra/left
local OFFER, USED, place = KEYS[4], KEYS[5], ARGV[3]
if redis.call('HEXISTS', OFFER, 'left:' .. place) == 0 then return -1 end
if tonumber(redis.call('HGET', OFFER, 'move:' .. place) or 0) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', OFFER, 'move:' .. place, ARGV[4])
redis.call('HINCRBY', OFFER, 'left:' .. place, ARGV[5])
if ARGV[6] ~= '' and ARGV[7] ~= '0' then redis.call('HINCRBY', USED, ARGV[6], ARGV[7]) end
if ARGV[8] ~= '0' and redis.call('HEXISTS', OFFER, 'seats') == 1 then redis.call('HINCRBY', OFFER, 'seats', ARGV[8]) end
tell_left(ARGV[2], OFFER)
nudge()
return 1
