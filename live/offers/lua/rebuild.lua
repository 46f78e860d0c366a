-- Last step of a rebuild: open the room. Sent again after a lost reply it changes nothing.
-- KEYS: meta, log, state, intents, offers.
-- ARGV: room, fence, log epoch, act_no, JSON of state {key: value text}, JSON of counted versions {key: version}, then offer ids
-- Answer: 1 opened (or open already under this fence), 0 when another rebuild took over, or another server, which may lack what was written before.
-- include: live.infra/room
if redis.call('HGET', META, 'fence') == ARGV[2] then return 1 end
local at = redis.call('HMGET', META, 'building', 'run_id')
if at[1] ~= ARGV[2] or at[2] ~= redis.call('INFO', 'server'):match('run_id:(%w+)') then return 0 end
redis.call('XGROUP', 'CREATE', KEYS[4], 'ledger', '0', 'MKSTREAM')
redis.call('HDEL', META, 'building')
redis.call('HSET', META, 'fence', ARGV[2], 'epoch', ARGV[3], 'act_no', ARGV[4], 'seq', 0, 'sv', 0, 'own', 0)
for key, version in pairs(cjson.decode(ARGV[6])) do redis.call('HSET', META, 'count:' .. key, version) end
for i = 7, #ARGV do redis.call('SADD', KEYS[5], ARGV[i]) end
for key, value in pairs(cjson.decode(ARGV[5])) do put(key, value) end -- values are JSON text already
urgent = true
nudge()
return 1
