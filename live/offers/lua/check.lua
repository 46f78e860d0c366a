-- First reason why an intent cannot be met, or the place and the units per offer. Only reads. Needs `offers`, `watched` and `now`.
-- Many want the same: what is written the same is read once, and what everybody is told is found once.
local read = {}
local function lines_of(text)
  if not read[text] then
    local lines = {facts = {}}
    for offer, qty, version, word in text:gmatch('(-?%d+):(-?%d+):(-?%d+):(%x*)') do
      lines[#lines + 1] = {tonumber(offer), tonumber(qty), tonumber(version), word}
    end
    read[text] = lines
  end
  return read[text]
end

local lists = {}
local function places_of(text)
  if not lists[text] then
    local places = {}
    for place in text:gmatch('[^,]+') do places[#places + 1] = place end
    lists[text] = places
  end
  return lists[text]
end

local function left(o, place)
  if o.left[place] == nil then o.left[place] = tonumber(redis.call('HGET', o.key, 'left:' .. place)) or false end
  return o.left[place]
end

-- Whoever asks. Fills lines.need (units per offer) and lines.order.
local function against(lines)
  local need, order = {}, {}
  lines.need, lines.order = need, order
  for _, line in ipairs(lines) do
    local o = offers[line[1]]
    if not o.kind then return redis.call('HEXISTS', STATE, 'offer:' .. o.id) == 1 and {'FENCED'} or {'NO', 'unknown'} end
    -- One order is one sale (of one or more offers), one seat order of one group, one coupon or one packet.
    if #lines > 1 and o.kind ~= 'sale' or (o.kind == 'coupon' or o.kind == 'packet') and line[2] ~= 1 then return {'NO', 'bad_request'} end
    if now < o.opens then return {'NO', 'not_started', o.opens} end
    if o.phase ~= 'open' or (o.closes > 0 and now >= o.closes) then return {'NO', 'ended'} end
    if o.word and line[4] ~= o.word then return {'NO', 'wrong_word'} end
    if line[3] ~= o.version then return {'NO', 'price_changed', o.fen, o.version} end
    if not need[o] then need[o] = 0; order[#order + 1] = o end
    need[o] = need[o] + line[2]
  end
  for _, o in ipairs(order) do
    if o.per_order and need[o] > o.per_order then return {'NO', 'order_limit', o.per_order} end
  end
end

local function check(who, places, lines)
  if not lines.order then lines.no = against(lines) end
  if lines.no then return lines.no end
  local need, order = lines.need, lines.order
  for _, o in ipairs(order) do
    if o.watch and watched(who) < o.watch then return {'NO', 'watch_longer', math.ceil((o.watch - watched(who)) / 60000)} end
    if o.used[who] + need[o] > o.k then return {'NO', 'limit', o.k} end
    if o.seats and o.seats < need[o] then return {'NO', 'team_full'} end
  end
  for _, place in ipairs(places) do
    local enough = true
    for _, o in ipairs(order) do
      local have = left(o, place)
      -- A missing counter of a place it is sold at is lost stock, never zero.
      if not have and (',' .. o.places .. ','):find(',' .. place .. ',', 1, true) then return {'FENCED'} end
      if not have or have < need[o] then enough = false end
    end
    if enough then return nil, place, need, order end
  end
  return {'NO', 'sold_out', tonumber(order[1].id)}
end
