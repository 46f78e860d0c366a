-- What the turnstile holds, at one moment: per offer its hash (units left and last move_no per place), and every intent not yet booked.
-- KEYS: meta, intents, then offer hashes. ARGV: most intents to read (0: all), so that a room in a rush is not held up by being looked at.
-- Answer: {fence, intents JSON…, per offer HGETALL}, or {'busy'} when more intents wait than that. Only reads.
local most = tonumber(ARGV[1])
if most > 0 and redis.call('XLEN', KEYS[2]) > most then return {'busy'} end
local intents = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do intents[#intents + 1] = entry[2][2] end
local offers = {}
for i = 3, #KEYS do offers[#offers + 1] = redis.call('HGETALL', KEYS[i]) end
return {redis.call('HGET', KEYS[1], 'fence') or '', intents, offers}
