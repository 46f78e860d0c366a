-- Second step of a rebuild, once per chunk: fields of one hash. Only the newest rebuild may write.
-- KEYS: meta, the hash. ARGV: fence, JSON [field, value, field, value, …] of texts.  Answer: 1, or 0 when another rebuild took over, or another server.
local at = redis.call('HMGET', KEYS[1], 'building', 'run_id')
if at[1] ~= ARGV[1] or at[2] ~= redis.call('INFO', 'server'):match('run_id:(%w+)') then return 0 end
local flat = cjson.decode(ARGV[2])
for i = 1, #flat, 1000 do redis.call('HSET', KEYS[2], unpack(flat, i, math.min(i + 999, #flat))) end -- Lua's stack holds some 8,000
return 1
