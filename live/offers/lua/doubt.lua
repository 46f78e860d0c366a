-- The audit no longer trusts this turnstile: it forgets which server it was built on. From here on every buy is refused as FENCED, and the
-- room's owner, who looks every second (`sound.lua` says `moved`), rebuilds it from SQL. Nothing else is touched, so nothing can be lost twice.
-- KEYS: meta. ARGV: the fence that was read; a turnstile built anew meanwhile is left alone. Answer: 1 closed, 0 not this one
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'run_id')
