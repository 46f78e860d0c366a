-- A limit with a burst (GCRA), for every process together. KEYS: its clock. ARGV: microseconds between two calls in the long run, burst.
-- Answer: 0, and the call counts; else in how many microseconds it would be let through, and it does not count.
local time = redis.call('TIME')
local now, apart = time[1] * 1000000 + time[2], tonumber(ARGV[1])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local wait = due - now - (ARGV[2] - 1) * apart
if wait > 0 then return wait end
due = due + apart
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 0
