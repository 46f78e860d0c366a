// A flash sale's state, read off its card and the server's clock by the same rules as the server's own (flash_sale/rules.py).

/** SCHEDULED → COUNTDOWN → RUNNING ⇄ SOLD_OUT → ENDED | STOPPED. `left`: units of all stores; `now`: epoch ms by the server's clock. */
export function saleState(view, left, now) {
  if (view.stopped) return "STOPPED";
  if (view.phase !== "open" || (view.closes !== null && now >= view.closes)) return "ENDED";
  if (now < view.opens - (view.countdown || 0) * 1000) return "SCHEDULED";
  if (now < view.opens) return "COUNTDOWN";
  return left > 0 ? "RUNNING" : "SOLD_OUT";
}

/** When the clock alone changes the state next; null: never. */
export function nextMoment(view, now) {
  if (view.phase !== "open") return null;
  return [view.opens - (view.countdown || 0) * 1000, view.opens, view.closes].find((at) => at !== null && at > now) ?? null;
}
