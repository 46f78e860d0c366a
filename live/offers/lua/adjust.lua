-- A movement the shop booked (release, restock, more or less stock) reaches the turnstile; or a run of holds does, which change nothing
-- here but the mark. The mark (last movement applied at a place) rises without gaps; anything at or below it was applied before.
-- KEYS: meta, log, state, the offer's hash, its `used` hash.
-- ARGV: room, offer id, place, move_no, change of left, person ('' for none), change of the person's units, change of seats, movements in
--   the run that ends with move_no (1 unless holds or restocks; 0: none, it is only to be reached), then pairs of who was given what came
--   back and how many units (`left` is less by those), or in a run of restocks gave back how many (below 0)
-- Answer: {1} applied, {0} seen before, {-1} the room is not open (send it again), {-2} the offer is not here (and none of it is on sale),
--   {-3, mark} movements before it are missing: nothing was changed.
-- include: live.infra/room
-- include: live.infra/left
local OFFER, USED, place, number = KEYS[4], KEYS[5], ARGV[3], tonumber(ARGV[4])
if redis.call('HEXISTS', META, 'fence') == 0 then return {-1} end
if redis.call('HEXISTS', OFFER, 'left:' .. place) == 0 then return {-2} end
local mark = tonumber(redis.call('HGET', OFFER, 'move:' .. place) or 0)
if mark >= number then return {0} end
if mark < number - tonumber(ARGV[9]) then return {-3, mark} end
redis.call('HSET', OFFER, 'move:' .. place, ARGV[4])
if ARGV[5] == '0' and #ARGV == 9 then return {1} end
redis.call('HINCRBY', OFFER, 'left:' .. place, ARGV[5])
if ARGV[6] ~= '' and ARGV[7] ~= '0' then redis.call('HINCRBY', USED, ARGV[6], ARGV[7]) end
if ARGV[8] ~= '0' and redis.call('HEXISTS', OFFER, 'seats') == 1 then redis.call('HINCRBY', OFFER, 'seats', ARGV[8]) end
for i = 10, #ARGV, 2 do redis.call('HINCRBY', USED, ARGV[i], ARGV[i + 1]) end
tell_left(ARGV[2], OFFER)
nudge()
return {1}
