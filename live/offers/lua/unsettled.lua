-- Intents that were delivered to the ledger's group and are still here, oldest first: settling deletes them. Only reads.
-- KEYS: intents. ARGV: at most so many. Answer: {id, JSON} each.
local groups = redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}
if #groups == 0 then return redis.error_reply('NOGROUP the room has to be built anew') end
local last, found = nil, {}
for i = 1, #groups[1], 2 do
  if groups[1][i] == 'last-delivered-id' then last = groups[1][i + 1] end
end
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', ARGV[1])) do found[i] = {entry[1], entry[2][2]} end
return found
