-- After the till's commit: what became of a batch. What is given back is given back once, because XDEL answers 1 once. A record says what
-- was committed, so it is true whoever removed the intent, and however late.
-- KEYS: meta, log, state, intents, the rids' two hashes, then per offer its hash and `used` hash (pairs).
-- ARGV: room, number of intents, JSON {offers: [id…], back: [[intent's place in the list, offer index, place, qty, who]…],
--   moves: [[offer index, place, last move_no before the batch, last move_no of it]…]}, then per intent its id, its rid and its record
--   ('': forget the rid).
-- Answer: {intents this call removed}, or {-1, move's place in the list, mark, …}: movements before the batch are missing there (the mark is
-- below its first number - 1). Then nothing was changed, so that an intent never leaves before its movement is counted.
-- include: live.infra/room
-- include: live.infra/left
-- include: rids
local INTENTS, n = KEYS[4], tonumber(ARGV[2])
local batch, touched, done, raised, behind = cjson.decode(ARGV[3]), {}, 0, {}, {-1}
-- A room that is being rebuilt gets these movements with its snapshot; an offer that is not here has no mark.
for i, move in ipairs(redis.call('HEXISTS', META, 'fence') == 1 and batch.moves or {}) do
  local key, field = KEYS[5 + 2 * move[1]], 'move:' .. move[2]
  local found = redis.call('HMGET', key, 'left:' .. move[2], field)
  local mark = tonumber(found[2] or 0)
  if found[1] and mark < move[3] then
    behind[#behind + 1] = i
    behind[#behind + 1] = mark
  elseif found[1] and mark < move[4] then
    raised[#raised + 1] = {key, field, move[4]}
  end
end
if #behind > 1 then return behind end
for _, mark in ipairs(raised) do redis.call('HSET', mark[1], mark[2], mark[3]) end
local alone, gone, kept, booked = {}, {}, {}, {}
for _, line in ipairs(batch.back) do alone[line[1]] = true end
for i = 1, n do
  local id, rid, record = ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  if record ~= '' then
    kept[#kept + 1] = rid
    kept[#kept + 1] = record
  end
  if record ~= '' and not alone[i] then
    booked[#booked + 1] = id
  elseif redis.call('XDEL', INTENTS, id) == 1 then
    gone[i], done = true, done + 1
    if record == '' then for day = 5, 6 do redis.call('HDEL', KEYS[day], rid) end end
  end
end
-- Whether each of these was still here changes nothing: it is only counted.
for i = 1, #booked, 1000 do done = done + redis.call('XDEL', INTENTS, unpack(booked, i, math.min(i + 999, #booked))) end
write_rids(5, kept)
for _, line in ipairs(batch.back) do
  local key, used = KEYS[5 + 2 * line[2]], KEYS[6 + 2 * line[2]]
  if gone[line[1]] and redis.call('HEXISTS', key, 'left:' .. line[3]) == 1 then
    redis.call('HINCRBY', key, 'left:' .. line[3], line[4])
    redis.call('HINCRBY', used, line[5], -line[4])
    if redis.call('HEXISTS', key, 'seats') == 1 then redis.call('HINCRBY', key, 'seats', line[4]) end
    touched[line[2]] = true
  end
end
for i, id in ipairs(batch.offers) do
  if touched[i] then tell_left(string.format('%d', id), KEYS[5 + 2 * i]) end
end
nudge()
return {done}
