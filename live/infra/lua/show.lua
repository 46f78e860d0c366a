-- When the show that is on began (epoch ms); nil while none is on. Needs STATE.
local function show_began()
  local room = redis.call('HGET', STATE, 'room')
  local view = room and cjson.decode(room)[2]
  return view and view.phase == 'live' and tonumber(view.began) or nil
end
