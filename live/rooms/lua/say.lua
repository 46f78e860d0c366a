-- A comment enters the room: once per client id, not from the muted, and within the room's budget for everybody's screen.
-- The budget is fair per person: from half of it on, only those are let in who were not yet shown in this second.
-- Consoles and the archive get it either way; beyond the budget its sender is told.
-- KEYS: meta, chat, chat:all, muted, this comment's `say` key, this second's `shown` key (hash: person -> comments, '*' -> all).
-- ARGV: room, who, name, text, budget per second, `1` from the demo's crowd
-- Answer: {OK, id} | {MUTED} | {SLOW, wait ms}; a resend gets the first answer's id.
-- include: live.infra/nudge
local said = redis.call('GET', KEYS[5])
if said then return {'OK', said} end
local until_ms = redis.call('HGET', KEYS[4], ARGV[2])
if until_ms and tonumber(until_ms) > now then return {'MUTED'} end
local id = 'c' .. string.format('%d', redis.call('HINCRBY', META, 'cn', 1)) .. '-' .. clock[1]
local budget = tonumber(ARGV[5])
local facts = redis.call('HMGET', KEYS[6], '*', 'p' .. ARGV[2])
local spent, mine = tonumber(facts[1] or 0), tonumber(facts[2] or 0)
local shown = budget == 0 or (spent < budget and (mine == 0 or spent < budget / 2))
local fields = {'id', id, 'who', ARGV[2], 'name', ARGV[3], 'text', ARGV[4], 'at', now, 'shown', shown and '1' or '0', 'demo', ARGV[6]}
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 20000, '*', unpack(fields))
told = true
nudge()
if not shown then return {'SLOW', 1000} end
if budget > 0 then
  redis.call('HINCRBY', KEYS[6], '*', 1)
  redis.call('HINCRBY', KEYS[6], 'p' .. ARGV[2], 1)
  redis.call('EXPIRE', KEYS[6], 2)
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', unpack(fields))
redis.call('SET', KEYS[5], id, 'EX', 60)
return {'OK', id}
