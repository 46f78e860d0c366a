-- The turnstile: decides a batch of one room's intents, each all or none. Promises: nothing is written before the batch's last check, and
-- units are taken before the intents that stand for them; a rid acts once; a missing counter is never zero.
-- KEYS: meta, log, state, intents, the rids' two hashes, then per offer its hash and its `used` hash (pairs), then `watched`.
-- ARGV: room, number of intents (1,000 at most), most unbooked intents, number of offers, offer ids, then seven per intent: rid, who, tries,
--   acceptable places (place,…), lines (offer index:qty:version:word;…), hash of its body, the start of its JSON ({"rid":…, without the end)
-- Answer: fence, then per intent its stream id (OK: a verdict follows), ? and its stream id (ASK: likewise), or {tag, …}: KNOWN record |
--   NO code fact… | FENCED.
-- include: live.infra/room
-- include: live.infra/left
-- include: rids
local INTENTS, n, cap, kinds, answers = KEYS[4], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), {}
local mine = redis.call('INFO', 'server'):match('run_id:(%w+)')
local guard = redis.call('HMGET', META, 'fence', 'run_id')
answers[1] = guard[1] or ''
if not guard[1] or guard[2] ~= mine then
  for i = 1, n do answers[i + 1] = {'FENCED'} end
  return answers
end
local fence, waiting, offers, people, rids = guard[1], redis.call('XLEN', INTENTS), {}, {}, {}
for i = 1, n do
  local at = 7 * i + kinds - 2
  rids[i], people[i] = ARGV[at], ARGV[at + 1]
end
for i = 1, kinds do
  local key, used_key = KEYS[5 + 2 * i], KEYS[6 + 2 * i]
  local f = redis.call('HMGET', key, 'kind', 'phase', 'opens', 'closes', 'fen', 'version', 'k', 'seats', 'places', 'per_order', 'word', 'watch')
  local used = {}
  for j, units in ipairs(redis.call('HMGET', used_key, unpack(people))) do used[people[j]] = tonumber(units or 0) end
  offers[i] = {id = ARGV[4 + i], key = key, used_key = used_key, kind = f[1], phase = f[2], opens = tonumber(f[3]), closes = tonumber(f[4]),
    fen = f[5], version = tonumber(f[6]), k = tonumber(f[7]), seats = tonumber(f[8]), places = f[9] or '', per_order = tonumber(f[10]), word = f[11],
    watch = tonumber(f[12]), used = used, left = {}, taken = {},
    users = {}, seated = 0}
end

-- include: watched
-- include: check
-- include: take
local first, intents, records = {}, {}, read_rids(5, rids) -- first: rid -> its place in the batch; intents: JSON by that
for i, rid in ipairs(rids) do
  local at, record, answer = 7 * i + kinds - 2, records[i], nil
  -- Written under another fence: that intent is lost, and its rid may act again.
  if record and record:sub(1, 2) == 'I|' and record:match('^I|[^|]*|([^|]*)|') ~= fence then record = nil end
  if record or first[rid] then
    answer = {'KNOWN', record}
  elseif waiting >= cap then
    answer = {'NO', 'busy'}
  else
    local who, places, lines = people[i], places_of(ARGV[at + 3]), lines_of(ARGV[at + 4])
    local no, place, need, order = check(who, places, lines)
    if no and (tonumber(ARGV[at + 2]) < 2 or no[1] == 'FENCED' or no[2] == 'unknown' or no[2] == 'bad_request') then
      answer = no
    else
      local ask = no and ',"ask":' .. cjson.encode(no) or ''
      first[rid], intents[i] = i, ARGV[at + 6] .. facts_of(lines, place or places[1]) .. ask .. '}'
      if not no then take(who, place, need, order) end
      answer, waiting = no and '?' or '', waiting + 1
    end
  end
  answers[i + 1] = answer
end

for _, o in ipairs(offers) do write_taken(o) end
local written = {}
for i, rid in ipairs(rids) do
  if intents[i] then
    local id = redis.call('XADD', INTENTS, '*', 'j', intents[i])
    records[i] = 'I|' .. id .. '|' .. fence .. '|' .. ARGV[7 * i + kinds + 3]
    written[#written + 1] = rid
    written[#written + 1] = records[i]
    answers[i + 1] = answers[i + 1] .. id
  elseif first[rid] then -- twice in one batch
    answers[i + 1] = {'KNOWN', records[first[rid]]}
  end
end
write_rids(5, written)
nudge()
return answers
