-- The turnstile: decides a batch of one room's intents, each all or none. Promises: nothing is written before an intent's last check;
-- a rid acts once; a missing counter is never zero.
-- KEYS: meta, log, state, intents, then per intent its rid record, then per offer its hash and its `used` hash (pairs).
-- ARGV: room, number of intents, JSON {cap, offers: [id…], intents: [{rid, who, name, hub, hash, tries, at: [place…], lines: [[offer index, qty, version]…]}…]}
-- Answer: one array per intent: {tag, …}: KNOWN record | OK intent-id kind place fence | NO code fact… | ASK | all FENCED when the stock is not sure.
-- include: live.infra/room
-- include: live.infra/left
local INTENTS, n = KEYS[4], tonumber(ARGV[2])
local batch, answers = cjson.decode(ARGV[3]), {}
local mine = redis.call('INFO', 'server'):match('run_id:(%w+)')
local guard = redis.call('HMGET', META, 'fence', 'run_id')
if not guard[1] or guard[2] ~= mine then
  for i = 1, n do answers[i] = {'FENCED'} end
  return answers
end
local fence, waiting, offers, touched = guard[1], redis.call('XLEN', INTENTS), {}, {}
for i, id in ipairs(batch.offers) do
  local key = KEYS[4 + n + 2 * i - 1]
  local f = redis.call('HMGET', key, 'kind', 'phase', 'opens', 'closes', 'fen', 'version', 'k', 'seats', 'places')
  offers[i] = {id = id, key = key, used = KEYS[4 + n + 2 * i], kind = f[1], phase = f[2], opens = tonumber(f[3]), closes = tonumber(f[4]),
    fen = f[5], version = tonumber(f[6]), k = tonumber(f[7]), seats = tonumber(f[8]), places = f[9] or ''}
end

-- include: check
for i, intent in ipairs(batch.intents) do
  local key = KEYS[4 + i]
  local record = redis.call('GET', key)
  if record and record:sub(1, 2) == 'I|' and record:match('^I|[^|]*|([^|]*)|') ~= fence then record = nil end
  local kind, lines = nil, {}
  if record then
    answers[i] = {'KNOWN', record}
  elseif waiting >= batch.cap then
    answers[i] = {'NO', 'busy'}
  else
    local no, place, need, order = check(intent)
    for j, line in ipairs(intent.lines) do
      local o = offers[line[1]]
      kind = o.kind
      lines[j] = string.format('[%d,%d,%s,%d]', o.id, line[2], o.fen or '0', line[3])
    end
    if no and (intent.tries < 2 or no[1] == 'FENCED' or no[2] == 'unknown' or no[2] == 'bad_request') then
      answers[i] = no
    else
      local body = string.format('{"rid":"%s","who":%s,"name":%s,"kind":"%s","at":"%s","lines":[%s],"hub":"%s","hash":"%s","fence":%s%s}', intent.rid,
        cjson.encode(intent.who), cjson.encode(intent.name), kind, place or intent.at[1], table.concat(lines, ','), intent.hub, intent.hash, fence,
        no and string.format(',"ask":%s', cjson.encode(no)) or '')
      local id = redis.call('XADD', INTENTS, '*', 'j', body)
      redis.call('SET', key, 'I|' .. id .. '|' .. fence .. '|' .. intent.hash, 'EX', 86400)
      waiting = waiting + 1
      for _, o in ipairs(no and {} or order) do
        redis.call('HINCRBY', o.key, 'left:' .. place, -need[o])
        redis.call('HINCRBY', o.used, intent.who, need[o])
        if o.seats then o.seats = redis.call('HINCRBY', o.key, 'seats', -need[o]) end
        touched[o] = true
      end
      answers[i] = {no and 'ASK' or 'OK', id, kind, place or '', fence}
    end
  end
end
for _, o in ipairs(offers) do if touched[o] then tell_left(string.format('%d', o.id), o.key) end end
nudge()
return answers
