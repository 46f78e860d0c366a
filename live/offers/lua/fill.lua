-- Second step of a rebuild, once per chunk: fields of one hash. Only the newest rebuild may write.
-- KEYS: meta, the hash. ARGV: fence, field, value, field, value, …  Answer: 1, or 0 when another rebuild took over.
if redis.call('HGET', KEYS[1], 'building') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
