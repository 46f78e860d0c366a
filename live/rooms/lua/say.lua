-- Comments enter the room: each once per client id, not from the muted, and within the room's budget for everybody's screen.
-- The budget is fair per person: from half of it on, only those are let in who were not yet shown in this second.
-- Consoles and the archive get all of them (the newest 100,000, minutes of a storm, for an archivist who is away); beyond the budget the
-- sender is told.
-- KEYS: meta, chat, chat:all, muted, this second's `shown` key (hash: person -> comments, '*' -> all), late (comments shown only when they
-- were sent again, for the archive), then the `say` key of each comment.
-- ARGV: room, budget per second, JSON [[who, name, text, `1` from the demo's crowd]…]
-- Answer: per comment {OK, id} | {MUTED} | {SLOW, wait ms}; a resend gets the first answer's id.
-- include: live.infra/nudge
local CHAT, ALL, MUTED, SHOWN, LATE = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local budget, answers = tonumber(ARGV[2]), {}

local function say(key, who, name, text, demo)
  local said = redis.call('GET', key)
  local refused = said and said:match('^%-(.*)') -- it was not shown, but consoles and the archive have it
  if said and not refused then return {'OK', said} end
  local until_ms = redis.call('HGET', MUTED, who)
  if until_ms and tonumber(until_ms) > now then return {'MUTED'} end
  local id = refused or 'c' .. string.format('%d', redis.call('HINCRBY', META, 'cn', 1)) .. '-' .. clock[1]
  local facts = redis.call('HMGET', SHOWN, '*', 'p' .. who)
  local spent, mine = tonumber(facts[1] or 0), tonumber(facts[2] or 0)
  local shown = budget == 0 or (spent < budget and (mine == 0 or spent < budget / 2))
  local fields = {'id', id, 'who', who, 'name', name, 'text', text, 'at', now, 'shown', shown and '1' or '0', 'demo', demo}
  if not refused then redis.call('XADD', ALL, 'MAXLEN', '~', 100000, '*', unpack(fields)) end
  told = true
  if not shown then
    redis.call('SET', key, '-' .. id, 'EX', 60)
    return {'SLOW', 1000}
  end
  if budget > 0 then
    redis.call('HINCRBY', SHOWN, '*', 1)
    redis.call('HINCRBY', SHOWN, 'p' .. who, 1)
    redis.call('EXPIRE', SHOWN, 2)
  end
  redis.call('XADD', CHAT, 'MAXLEN', '~', 1000, '*', unpack(fields))
  redis.call('SET', key, id, 'EX', 60)
  if refused then
    redis.call('RPUSH', LATE, id)
    redis.call('EXPIRE', LATE, 3600)
  end
  return {'OK', id}
end

for i, remark in ipairs(cjson.decode(ARGV[3])) do answers[i] = say(KEYS[6 + i], unpack(remark)) end
nudge()
return answers
