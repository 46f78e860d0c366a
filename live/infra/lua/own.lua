-- One person's news: appended to the room's own stream unless a newer version of the same thing was told before.
-- KEYS: meta, log, state, own, ownlast, ownver. ARGV: room, then who, key, version, body per entry. Answer: how many were new.
-- include: live.infra/room
if redis.call('HEXISTS', META, 'fence') == 0 then return -2 end
local new = 0
for i = 2, #ARGV, 4 do
  local who, thing, version, body = ARGV[i], ARGV[i] .. '|' .. ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  if tonumber(redis.call('HGET', KEYS[6], thing) or 0) < version then
    redis.call('HSET', KEYS[6], thing, version)
    local p = redis.call('HINCRBY', META, 'own', 1)
    local previous = redis.call('HGET', KEYS[5], who) or '0'
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', 50000, string.format('%d-0', p), 'who', who, 'prev', previous, 'd', body, 'at', now)
    redis.call('HSET', KEYS[5], who, p)
    new = new + 1
  end
end
if new > 0 then urgent = true end
nudge()
return new
