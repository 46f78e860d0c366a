-- An act reaches its room: state, turnstile fields, mutes and events in one step, in the order of act_no.
-- KEYS: meta, log, state, muted, offers, then one offer hash per offer of the act.
-- ARGV: room, act_no, JSON {events: [[type, body text]…], state: [[key, value text]…], offers: [[id, {field: value}]…], muted: [[who, until]…]}
-- Answer: 1 applied, 0 applied before, -1 not the next (the one before is still on its way), -2 the room is not open here.
-- include: live.infra/room
-- include: live.infra/left
local at = redis.call('HGET', META, 'act_no')
if not at then return -2 end
local number = tonumber(ARGV[2])
if number <= tonumber(at) then return 0 end
if number > tonumber(at) + 1 then return -1 end
local act = cjson.decode(ARGV[3])
redis.call('HSET', META, 'act_no', ARGV[2])
for _, pair in ipairs(act.state) do put(pair[1], pair[2]) end
for i, pair in ipairs(act.offers) do
  local fresh = redis.call('HEXISTS', KEYS[5 + i], 'kind') == 0
  redis.call('SADD', KEYS[5], pair[1])
  for field, value in pairs(pair[2]) do redis.call('HSET', KEYS[5 + i], field, value) end
  if fresh then tell_left(pair[1], KEYS[5 + i]) end
end
for _, pair in ipairs(act.muted) do
  if tonumber(pair[2]) == 0 then redis.call('HDEL', KEYS[4], pair[1]) else redis.call('HSET', KEYS[4], pair[1], pair[2]) end
end
for _, pair in ipairs(act.events) do emit(pair[1], pair[2]) end
nudge()
return 1
