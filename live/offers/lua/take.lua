-- What a batch takes: noted per offer while it is decided, written at once after its last check. Needs `fence`.
local function take(who, place, need, order)
  for _, o in ipairs(order) do
    local qty = need[o]
    o.left[place] = o.left[place] - qty
    o.taken[place] = (o.taken[place] or 0) + qty
    o.used[who] = o.used[who] + qty
    o.users[who] = true
    if o.seats then o.seats, o.seated = o.seats - qty, o.seated + qty end
  end
end

local function write_taken(o)
  if not next(o.taken) then return end
  for place, qty in pairs(o.taken) do redis.call('HINCRBY', o.key, 'left:' .. place, -qty) end
  local used = {}
  for who in pairs(o.users) do used[#used + 1] = who; used[#used + 1] = o.used[who] end
  redis.call('HSET', o.used_key, unpack(used))
  if o.seated > 0 then redis.call('HINCRBY', o.key, 'seats', -o.seated) end
  tell_left(o.id, o.key)
end

-- The part of an intent's JSON that all who want the same have in common.
local function facts_of(lines, place)
  if not lines.facts[place] then
    local parts, kind = {}, nil
    for j, line in ipairs(lines) do
      local o = offers[line[1]]
      kind, parts[j] = o.kind, string.format('[%s,%d,%s,%d]', o.id, line[2], o.fen or '0', line[3])
    end
    lines.facts[place] = string.format(',"kind":"%s","at":"%s","lines":[%s],"fence":%s', kind, place, table.concat(parts, ','), fence)
  end
  return lines.facts[place]
end
