-- Units left of an offer, as its hash says: the per-place numbers as JSON and their sum. Nil when a place it is sold at has no counter: that
-- is lost stock, never zero, and whoever reads the room would take it for sold out there.
local function left_of(key)
  local all, sum, parts, places = redis.call('HGETALL', key), 0, {}, 0
  for i = 1, #all, 2 do
    if all[i]:sub(1, 5) == 'left:' then
      sum = sum + tonumber(all[i + 1])
      parts[#parts + 1] = string.format('%q:%s', all[i]:sub(6), all[i + 1])
    elseif all[i] == 'places' then
      places = select(2, all[i + 1]:gsub('[^,]+', ''))
    end
  end
  if #parts < places then return nil end
  table.sort(parts)
  return sum, '{"left":{' .. table.concat(parts, ',') .. '}}'
end

-- Tell the room what is left; sold out and back are events, at most once a second per offer (the state tells the rest).
local function tell_left(id, key)
  local sum, value = left_of(key)
  if not sum then return end -- its owner notices within a second, and builds the room anew
  if redis.call('HEXISTS', STATE, 'offer:' .. id) == 0 then return end -- taken off the shelf; a late release is nobody's news
  put('left:' .. id, value)
  local facts = redis.call('HMGET', key, 'out', 'flip', 'phase')
  local was_out, out = facts[1] == '1', sum <= 0
  if was_out ~= out and facts[3] == 'open' and now - tonumber(facts[2] or 0) >= 1000 then
    redis.call('HSET', key, 'out', out and '1' or '0', 'flip', now)
    emit(out and 'offer.sold_out' or 'offer.back', '{"offer":' .. id .. '}')
  end
end
