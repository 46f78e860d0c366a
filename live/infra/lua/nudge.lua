-- The clock of a script, and the word it gives the hubs. KEYS[1] meta; ARGV[1] the room's name, for the nudge channel.
local META = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told, urgent = false, false

-- Hubs read what is urgent at once. State and chat go out with their tick anyway: a word now and then wakes those who rest.
local NUDGE_MS = 80
local function nudge()
  if urgent then
    redis.call('PUBLISH', '{' .. ARGV[1] .. '}:nudge', '!')
  elseif told and now - tonumber(redis.call('HGET', META, 'nudged') or 0) >= NUDGE_MS then
    redis.call('HSET', META, 'nudged', now)
    redis.call('PUBLISH', '{' .. ARGV[1] .. '}:nudge', '.')
  end
end
