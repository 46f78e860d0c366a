-- Turns at an even pace, for every process together (GCRA without a burst). KEYS: clock of the turns. ARGV: microseconds between two.
-- Answer: how many microseconds the caller must wait for the turn it has just been given.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local following = turn + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1000)
return turn - now
