-- Adds spans of watching to what each person has watched of the show that is on. A person's spans that overlap count once, whatever devices
-- and hubs they are of: what lies before the end of the last one is in already. Sent again it changes nothing.
-- KEYS: meta, state, watched. ARGV: room, then per span: who, and how many ms ago it began and ended
-- Answer: 1, or 0 when no show is on.
-- include: live.infra/nudge
local STATE, WATCHED = KEYS[2], KEYS[3]
-- include: live.infra/show
local began = show_began()
if not began then return 0 end
local show = string.format('%d', began)
if redis.call('HGET', WATCHED, '') ~= show then -- what was watched of an earlier show counts for that one
  redis.call('DEL', WATCHED)
  redis.call('HSET', WATCHED, '', show)
end
for i = 2, #ARGV, 3 do
  local ms, till = (redis.call('HGET', WATCHED, ARGV[i]) or ''):match('^(%d+)|(%d+)$')
  local from, to = math.max(now - ARGV[i + 1], tonumber(till) or began), now - ARGV[i + 2]
  if to > from then redis.call('HSET', WATCHED, ARGV[i], string.format('%d|%d', (tonumber(ms) or 0) + to - from, to)) end
end
redis.call('EXPIRE', WATCHED, 86400)
return 1
