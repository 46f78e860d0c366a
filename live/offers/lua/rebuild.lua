-- Open a rebuilt room: the last step, after every counter was written. Until this ran there is no fence, so every buy is refused as FENCED.
-- KEYS: meta, log, state, intents, own.
-- ARGV: room, fence, log epoch, act_no, JSON of state {key: value}. Answer: the server's run_id, now the one this room trusts.
-- include: live.infra/room
local run_id = redis.call('INFO', 'server'):match('run_id:(%w+)')
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('XGROUP', 'CREATE', KEYS[4], 'ledger', '0', 'MKSTREAM') end
redis.call('HSET', META, 'fence', ARGV[2], 'run_id', run_id, 'epoch', ARGV[3], 'act_no', ARGV[4], 'seq', 0, 'sv', 0, 'own', 0)
local state = cjson.decode(ARGV[5])
for key, value in pairs(state) do put(key, value) end -- values are JSON text already
told = true
nudge()
return run_id
