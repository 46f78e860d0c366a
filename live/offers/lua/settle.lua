-- After the till's commit: what became of a batch. The give-back happens once, because XDEL answers 1 once.
-- KEYS: meta, log, state, intents, then per intent its rid record, then per offer its hash and `used` hash (pairs).
-- ARGV: room, number of intents, JSON {offers: [id…], back: [[intent's place in the list, offer index, place, qty, who]…],
--   moves: [[offer index, place, last move_no before the batch, last move_no of it]…]}, then per intent its id and its record ('': forget the rid).
-- Answer: {intents this call removed}, or {-1, move's place in the list, mark, …}: movements before the batch are missing there (the mark is
-- below its first number - 1). Then nothing was changed, so that an intent never leaves before its movement is counted.
-- include: live.infra/room
-- include: live.infra/left
local INTENTS, n = KEYS[4], tonumber(ARGV[2])
local batch, touched, done, raised, behind = cjson.decode(ARGV[3]), {}, 0, {}, {-1}
-- A room that is being rebuilt gets these movements with its snapshot; an offer that is not here has no mark.
for i, move in ipairs(redis.call('HEXISTS', META, 'fence') == 1 and batch.moves or {}) do
  local key, field = KEYS[4 + n + 2 * move[1] - 1], 'move:' .. move[2]
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
local gone = {}
for i = 1, n do
  if redis.call('XDEL', INTENTS, ARGV[2 + 2 * i]) == 1 then
    gone[i], done = true, done + 1
    if ARGV[3 + 2 * i] ~= '' then
      redis.call('SET', KEYS[4 + i], ARGV[3 + 2 * i], 'EX', 86400)
    else
      redis.call('DEL', KEYS[4 + i])
    end
  end
end
for _, line in ipairs(batch.back) do
  local key, used = KEYS[4 + n + 2 * line[2] - 1], KEYS[4 + n + 2 * line[2]]
  if gone[line[1]] and redis.call('HEXISTS', key, 'left:' .. line[3]) == 1 then
    redis.call('HINCRBY', key, 'left:' .. line[3], line[4])
    redis.call('HINCRBY', used, line[5], -line[4])
    if redis.call('HEXISTS', key, 'seats') == 1 then redis.call('HINCRBY', key, 'seats', line[4]) end
    touched[line[2]] = true
  end
end
for i, id in ipairs(batch.offers) do
  if touched[i] then tell_left(string.format('%d', id), KEYS[4 + n + 2 * i - 1]) end
end
nudge()
return {done}
