-- People's news: each appended to the room's own stream unless a newer version of the same thing was told before.
-- KEYS: meta, log, state, own, ownlast, ownver. ARGV: room, JSON [[who, key, version, body text]…]. Answer: how many were new.
-- include: live.infra/room
if redis.call('HEXISTS', META, 'fence') == 0 then return -2 end
local first = tonumber(redis.call('HGET', META, 'own') or 0)
local p = first
for _, entry in ipairs(cjson.decode(ARGV[2])) do
  local who, thing, version = entry[1], entry[1] .. '|' .. entry[2], entry[3]
  local new
  if version == 1 then
    new = redis.call('HSETNX', KEYS[6], thing, 1) == 1
  else
    new = tonumber(redis.call('HGET', KEYS[6], thing) or 0) < version
    if new then redis.call('HSET', KEYS[6], thing, version) end
  end
  if new then
    p = p + 1
    local previous = redis.call('HGET', KEYS[5], who) or '0'
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', 50000, string.format('%d-0', p), 'who', who, 'prev', previous, 'd', entry[4])
    redis.call('HSET', KEYS[5], who, p)
  end
end
if p > first then
  redis.call('HSET', META, 'own', p)
  urgent = true
end
nudge()
return p - first
