-- May this room's turnstile be trusted? KEYS: meta, state, intents, then the hash of each offer named. ARGV: their ids.
-- Answer: its fence, or why not: `closed`, `moved` (another server), `intents` (stream or group lost), `counters` (an open offer lacks one).
local guard = redis.call('HMGET', KEYS[1], 'fence', 'run_id')
if not guard[1] then return 'closed' end
if redis.call('INFO', 'server'):match('run_id:(%w+)') ~= guard[2] then return 'moved' end
if redis.call('EXISTS', KEYS[3]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[3]) == 0 then return 'intents' end
for i, id in ipairs(ARGV) do
  local shown = redis.call('HGET', KEYS[2], 'offer:' .. id)
  if shown and shown:find('"phase":"open"', 1, true) then -- else its act is still on its way
    local places = redis.call('HGET', KEYS[3 + i], 'places')
    if not places then return 'counters' end
    for place in places:gmatch('[^,]+') do
      if redis.call('HEXISTS', KEYS[3 + i], 'left:' .. place) == 0 then return 'counters' end
    end
  end
end
return guard[1]
