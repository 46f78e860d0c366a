-- What the turnstile holds, at one moment: per offer {units left per place, last move_no per place, phase}, and every intent not yet booked.
-- KEYS: meta, intents, then offer hashes. Answer: {fence, intents JSON…, per offer HGETALL}
local intents = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do intents[#intents + 1] = entry[2][2] end
local offers = {}
for i = 3, #KEYS do offers[#offers + 1] = redis.call('HGETALL', KEYS[i]) end
return {redis.call('HGET', KEYS[1], 'fence') or '', intents, offers}
