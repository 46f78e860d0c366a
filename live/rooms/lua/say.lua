-- A comment enters the room: once per client id, not from the muted, and within the room's budget for everybody's screen.
-- Consoles and the archive get it either way; beyond the budget its sender is told.
-- KEYS: meta, chat, chat:all, muted, this comment's `say` key, this second's budget key.
-- ARGV: room, who, name, text, budget per second, `1` from the demo's crowd
-- Answer: {OK, id} | {MUTED} | {SLOW, wait ms}; a resend gets the first answer's id.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local said = redis.call('GET', KEYS[5])
if said then return {'OK', said} end
local until_ms = redis.call('HGET', KEYS[4], ARGV[2])
if until_ms and tonumber(until_ms) > now then return {'MUTED'} end
local id = 'c' .. string.format('%d', redis.call('HINCRBY', KEYS[1], 'cn', 1)) .. '-' .. clock[1]
local spent = redis.call('INCR', KEYS[6])
redis.call('EXPIRE', KEYS[6], 2)
local shown = tonumber(ARGV[5]) == 0 or spent <= tonumber(ARGV[5])
local fields = {'id', id, 'who', ARGV[2], 'name', ARGV[3], 'text', ARGV[4], 'at', now, 'shown', shown and '1' or '0', 'demo', ARGV[6]}
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 20000, '*', unpack(fields))
if not shown then return {'SLOW', 1000} end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', unpack(fields))
redis.call('SET', KEYS[5], id, 'EX', 60)
return {'OK', id}
