-- People's news: each appended to the room's own stream (who, `position of their news before|body`) unless a newer version of the same
-- thing was told before.
-- KEYS: meta, log, state, own, ownlast, ownver. ARGV: room, then four per entry (2,000 entries at most): who, key, version, body.
-- Answer: how many were new, -2 when the room is not open here.
-- include: live.infra/room
if redis.call('HEXISTS', META, 'fence') == 0 then return -2 end
local people, things = {}, {}
for i = 2, #ARGV, 4 do
  people[#people + 1] = ARGV[i]
  things[#things + 1] = ARGV[i] .. '|' .. ARGV[i + 1]
end
if #people == 0 then return 0 end
-- Many at once, so their marks are read and written at once; in between they are kept here.
local last, told, lasts, tolds = {}, {}, {}, {}
for i, p in ipairs(redis.call('HMGET', KEYS[5], unpack(people))) do last[people[i]] = p or '0' end
for i, version in ipairs(redis.call('HMGET', KEYS[6], unpack(things))) do told[things[i]] = tonumber(version or 0) end
local first = tonumber(redis.call('HGET', META, 'own') or 0)
local p, entry = first, {}
-- An entry holds up to TOGETHER news under the position of its last, for a write costs more than what it carries.
local KEPT, TOGETHER = 50000, 16
local function append()
  local oldest = string.format('%d', math.max(0, p - KEPT))
  if #entry > 0 then redis.call('XADD', KEYS[4], 'MINID', '~', oldest, string.format('%d-0', p), unpack(entry)) end
  entry = {}
end
for i, thing in ipairs(things) do
  local who, version = people[i], ARGV[4 * i]
  if told[thing] < tonumber(version) then
    p = p + 1
    entry[#entry + 1] = who; entry[#entry + 1] = last[who] .. '|' .. ARGV[4 * i + 1]
    if #entry == 2 * TOGETHER then append() end
    local position = string.format('%d', p)
    told[thing], last[who] = tonumber(version), position
    tolds[#tolds + 1] = thing; tolds[#tolds + 1] = version
    lasts[#lasts + 1] = who; lasts[#lasts + 1] = position
  end
end
append()
if p > first then
  redis.call('HSET', KEYS[5], unpack(lasts))
  redis.call('HSET', KEYS[6], unpack(tolds))
  redis.call('HSET', META, 'own', p)
  urgent = true
end
nudge()
return p - first
