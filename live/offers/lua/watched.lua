-- Milliseconds somebody has watched of the show that is on, as its hubs have written them. Needs STATE and KEYS.
-- include: live.infra/show
local WATCHED, of_this_show = KEYS[#KEYS], nil
local function watched(who)
  if of_this_show == nil then
    local began = show_began()
    of_this_show = began ~= nil and redis.call('HGET', WATCHED, '') == string.format('%d', began)
  end
  return of_this_show and tonumber((redis.call('HGET', WATCHED, who) or '0'):match('^%d+')) or 0
end
