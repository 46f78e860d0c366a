// This person's places in the lines before what is sold out. The room tells who stands at the head of a line; the rest is asked for.
import { viewer } from "../shared/api.js";
import { pick, t } from "../shared/i18n.js";

export class Waits {
  constructor(shop) {
    this.shop = shop;
    this.byOffer = new Map(); // offer -> ENTRY, the newest
  }

  of(offer) {
    return this.byOffer.get(offer) || null;
  }

  /** The line of an offer as the room sees it, {waiting, first}; null: it has none. */
  line(offer) {
    return this.shop.live.state.get(`waitlist:${offer}`) || null;
  }

  /** One's number: the room's word for the first ten, else what the server last said, which only falls. */
  number(entry) {
    const line = this.line(entry.offer);
    const at = line ? line.first.indexOf(entry.id) : -1;
    return at >= 0 ? at + 1 : Math.max(1, Math.min(entry.number ?? Infinity, line?.waiting || Infinity));
  }

  /** `waiting`, `yours` (an order waits for its money) or "" (not in line). */
  state(offer) {
    const entry = this.of(offer);
    if (entry?.state === "WAITING") return "waiting";
    return entry?.order && this.shop.orders.get(entry.order)?.state === "AWAIT_PAY" ? "yours" : "";
  }

  clear() {
    this.byOffer.clear();
  }

  async fetch() {
    const { waitlist } = await viewer.get(`/v1/me/waitlist?room=${encodeURIComponent(this.shop.id)}`);
    for (const entry of waitlist) this.#keep(entry);
    this.shop.draw();
  }

  async enter(view, qty, at) {
    this.#keep(await viewer.post(`/v1/offers/${view.id}/waitlist`, { qty, at, version: view.version }));
    this.shop.draw();
  }

  async leave(offer) {
    this.#keep(await viewer.post(`/v1/offers/${offer}/waitlist/leave`));
    this.shop.draw();
  }

  /** News of one's own place. What was given is an order: it is opened at once, for it has to be paid soon. */
  news(body) {
    const held = this.of(body.offer);
    if (!this.#keep({ ...(held?.id === body.id ? held : {}), ...body })) return;
    const name = pick(this.shop.offer(body.offer)?.view.name);
    if (body.state === "GIVEN") {
      this.shop.close("wait");
      this.shop.open("order", { no: body.order, got: true });
      this.shop.say(t("wait.given", { name }));
    } else if (body.state === "SKIPPED") this.shop.note(t(`wait.skipped.${body.why}`, { name }), "bad");
    else if (body.state === "CLOSED") this.shop.note(t("wait.closed", { name }));
  }

  /** Takes an entry in unless a newer one is held. */
  #keep(entry) {
    const held = this.of(entry.offer);
    if (held && (held.id > entry.id || (held.id === entry.id && held.version > entry.version))) return false;
    const fresh = !held || held.id !== entry.id || held.version !== entry.version;
    this.byOffer.set(entry.offer, entry);
    return fresh;
  }
}
