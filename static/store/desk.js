// The desk's queue: asked for every 3 s, at once after an act of ours, and less often while the page lies in the background.
import { useState, useEffect, useRef, useCallback, keep } from "/static/shared/dom.js";
import { newKey } from "/static/sdk/tap.js";
import { doors } from "/static/login/session.js";

const EVERY = 3_000; // ms; the desk is told by asking, and a customer at the counter waits no longer than this
const HIDDEN = 15_000; // ms while nobody looks
const SLOT = "live.device";

/** Wrong codes are counted per device: this one's random name goes along as a cookie. */
export function nameDevice() {
  const name = keep.get(SLOT) || newKey();
  keep.set(SLOT, name);
  document.cookie = `live_device=${name}; path=/v1/desk; max-age=31536000; samesite=strict`;
}

/** `store`: its code, or "" for every store (owner). Returns {tickets, at (epoch ms of the last answer), error, busy, again(), put(ticket)}. */
export function useQueue(store) {
  const [held, set] = useState({ tickets: null, at: 0, error: null, busy: false });
  const round = useRef(0); // answers that were asked for before an act of ours are old
  const wanted = query("/v1/desk/queue", store);
  const ask = useCallback(async () => {
    const mine = ++round.current;
    set((was) => ({ ...was, busy: true }));
    try {
      const answer = await doors.get(wanted);
      if (mine === round.current) set({ tickets: answer.tickets, at: Date.now(), error: null, busy: false });
    } catch (error) {
      if (mine === round.current) set((was) => ({ ...was, error, busy: false }));
    }
  }, [wanted]);
  useEffect(() => {
    let timer;
    let over = false;
    const turn = async () => {
      await ask();
      if (!over) timer = setTimeout(turn, document.hidden ? HIDDEN : EVERY);
    };
    set({ tickets: null, at: 0, error: null, busy: true });
    turn();
    const seen = () => document.hidden || ask();
    document.addEventListener("visibilitychange", seen);
    return () => {
      over = true;
      clearTimeout(timer);
      round.current += 1;
      document.removeEventListener("visibilitychange", seen);
    };
  }, [ask]);
  const put = (ticket) => {
    if (!ticket?.id) return ask();
    round.current += 1;
    set((was) => ({ ...was, busy: false, tickets: (was.tickets || []).map((one) => (one.id === ticket.id ? { ...one, ...ticket } : one)) }));
    return undefined;
  };
  return { ...held, again: ask, put };
}

/** A path with the store the owner chose; a clerk's own store goes without saying. */
export const query = (path, store) => (store ? `${path}?store=${encodeURIComponent(store)}` : path);

/** Tickets by what is to be done with them, oldest first; handed-over ones newest first. */
export function grouped(tickets) {
  const of = (state) => tickets.filter((ticket) => ticket.state === state).sort((a, b) => a.created - b.created);
  const done = of("COLLECTED").sort((a, b) => (b.collected_at || 0) - (a.collected_at || 0));
  return { QUEUED: of("QUEUED"), READY: of("READY"), COLLECTED: done };
}

/** What to fetch from the shelves: [{sku, name, qty, orders}], most first. */
export function picks(tickets) {
  const found = new Map();
  for (const ticket of tickets) {
    for (const line of ticket.lines) {
      const row = found.get(line.sku) || { sku: line.sku, name: line.name, qty: 0, orders: 0 };
      row.qty += line.qty;
      row.orders += 1;
      found.set(line.sku, row);
    }
  }
  return [...found.values()].sort((a, b) => b.qty - a.qty || a.sku.localeCompare(b.sku));
}
