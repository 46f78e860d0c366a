-- After the till's commit: what became of a batch. The give-back happens once, because XDEL answers 1 once.
-- KEYS: meta, log, state, intents, then per intent its rid record, then per offer its hash and `used` hash (pairs).
-- ARGV: room, number of intents, JSON {offers: [id…], intents: [{id, record (or nil: forget the rid), back: [[offer index, place, qty, who, seats]…]}…],
--   moves: [[offer index, place, last move_no before the batch, last move_no of it]…]}.
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
for i, intent in ipairs(batch.intents) do
  redis.call('XACK', INTENTS, 'ledger', intent.id)
  if redis.call('XDEL', INTENTS, intent.id) == 1 then
    done = done + 1
    if intent.record then
      redis.call('SET', KEYS[4 + i], intent.record, 'EX', 86400)
    else
      redis.call('DEL', KEYS[4 + i])
    end
    for _, line in ipairs(intent.back or {}) do
      local key, used = KEYS[4 + n + 2 * line[1] - 1], KEYS[4 + n + 2 * line[1]]
      if redis.call('HEXISTS', key, 'left:' .. line[2]) == 1 then
        redis.call('HINCRBY', key, 'left:' .. line[2], line[3])
        redis.call('HINCRBY', used, line[4], -line[3])
        if redis.call('HEXISTS', key, 'seats') == 1 then redis.call('HINCRBY', key, 'seats', line[3]) end
        touched[line[1]] = true
      end
    end
  end
end
for i, id in ipairs(batch.offers) do
  if touched[i] then tell_left(string.format('%d', id), KEYS[4 + n + 2 * i - 1]) end
end
nudge()
return {done}
