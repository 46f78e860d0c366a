-- First step of a rebuild: close the turnstile and forget. Until `rebuild.lua` ran there is no fence, so every buy is refused as FENCED.
-- The server it begins on is noted (`run_id`): what follows is refused by any other, which may lack a part of what was written here. Sent
-- again, or arriving late, it forgets nothing of what its own rebuild wrote since.
-- KEYS: meta, offers, then every key to forget. ARGV: fence. Answer: 1, or 0 when a newer rebuild is at work or done.
local building, open = redis.call('HGET', KEYS[1], 'building'), redis.call('HGET', KEYS[1], 'fence')
local mine = redis.call('INFO', 'server'):match('run_id:(%w+)')
if building == ARGV[1] and redis.call('HGET', KEYS[1], 'run_id') == mine then return 1 end
if tonumber(building or 0) > tonumber(ARGV[1]) or tonumber(open or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('HSET', KEYS[1], 'building', ARGV[1], 'run_id', mine)
return 1
