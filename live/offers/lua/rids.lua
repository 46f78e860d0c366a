-- What became of each rid, in two hashes that take turns: one per UTC day, by the server's clock. Each ends with the day after its own, so
-- a record lives at least 24 h, and the day that begins finds its hash gone. Today's word counts before yesterday's. Needs `now`.
local DAY_MS = 86400000
local day = math.floor(now / DAY_MS)

-- KEYS[first] is the hash of even days, the next one that of odd days. Answer: today's, yesterday's.
local function rid_days(first)
  local odd = day % 2
  return KEYS[first + odd], KEYS[first + 1 - odd]
end

local function read_rids(first, rids)
  local today, before = rid_days(first)
  local found, older = redis.call('HMGET', today, unpack(rids)), redis.call('HMGET', before, unpack(rids))
  for i = 1, #rids do found[i] = found[i] or older[i] end
  return found
end

-- `flat`: rid, record, …; one write for many, because what a write costs is the call and its line in the AOF.
local function write_rids(first, flat)
  local today = rid_days(first)
  for i = 1, #flat, 1000 do redis.call('HSET', today, unpack(flat, i, math.min(i + 999, #flat))) end
  if #flat > 0 and redis.call('PTTL', today) < 0 then redis.call('PEXPIREAT', today, string.format('%.0f', (day + 2) * DAY_MS)) end
end
