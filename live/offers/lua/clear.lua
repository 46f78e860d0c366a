-- First step of a rebuild: close the turnstile and forget. Until `rebuild.lua` ran there is no fence, so every buy is refused as FENCED.
-- KEYS: meta, offers, then every key to forget. ARGV: fence. Answer: 1, or 0 when a newer rebuild is at work or done.
local building, open = redis.call('HGET', KEYS[1], 'building'), redis.call('HGET', KEYS[1], 'fence')
if tonumber(building or 0) > tonumber(ARGV[1]) or tonumber(open or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('HSET', KEYS[1], 'building', ARGV[1])
return 1
