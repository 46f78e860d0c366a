// Taps of this page: at most one per offer at a time, and not forgotten when the page is reloaded in the middle of one.
import { viewer } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { refused } from "../shared/toast.js";

const POLL = 2_000; // ms between questions about a tap of an earlier page
const POLLS = 60; // two minutes; by then the ledger has answered or discarded it

export class Taps {
  constructor(shop) {
    this.shop = shop;
    this.byOffer = new Map(); // offer -> {state, kind, no?: refusal, order?, coupon?}
  }

  of(offer) {
    return this.byOffer.get(offer) || null;
  }

  busy(offer) {
    const state = this.of(offer)?.state;
    return state === "sending" || state === "moment";
  }

  forget(offer) {
    if (!this.busy(offer)) this.byOffer.delete(offer);
  }

  /** Another person: what the last one tapped is not theirs. */
  clear() {
    this.byOffer.clear();
  }

  buy(view, qty, store, team) {
    const lines = [{ offer: view.id, qty, version: view.version }];
    return this.#run(view.id, "buy", (options) => this.shop.live.buy({ lines, at: [store], team }, options));
  }

  claim(view, word) {
    return this.#run(view.id, "claim", (options) => this.shop.live.claim(view.id, { ...options, word }));
  }

  async #run(offer, kind, make) {
    if (this.busy(offer)) return;
    this.#set(offer, { state: "sending", kind });
    const tap = make({ onState: (state) => (state === "sending" || state === "moment") && this.#set(offer, { state, kind }) });
    this.#remember(tap.key, { offer, kind });
    try {
      this.#arrived(offer, kind, await tap.promise);
    } catch (no) {
      this.#set(offer, { state: "refused", kind, no });
      if (no.code === "identify") this.shop.open("identify", { then: () => this.forget(offer) });
      else if (kind === "claim" || !this.shop.sheets.some((one) => one.name === "buy")) refused(no);
    } finally {
      this.#remember(tap.key, null);
    }
  }

  #arrived(offer, kind, result) {
    const { shop } = this;
    this.#set(offer, { state: "done", kind, ...result });
    if (result.order) {
      shop.close("buy");
      shop.open("order", { no: result.order.no, got: true });
      shop.fetchOrder(result.order.no).catch(() => {});
    } else if (result.packet) {
      shop.packets.keep(result.packet);
      shop.open("packet", { id: offer });
      shop.packets.fetch().catch(() => {});
      if (result.packet.grant) shop.fetchCoupons().catch(() => {});
    } else {
      shop.note(t("coupons.got"), "good");
      shop.fetchCoupons().then(() => this.forget(offer), () => {}); // from here on what is held says whether one more can be claimed
    }
  }

  #set(offer, facts) {
    this.byOffer.set(offer, facts);
    this.shop.draw();
  }

  // -- across a reload --

  #kept() {
    try {
      return JSON.parse(this.shop.keptHere("taps") || "{}");
    } catch {
      return {};
    }
  }

  #remember(key, facts) {
    const kept = this.#kept();
    if (facts) kept[key] = facts;
    else delete kept[key];
    this.shop.keepHere("taps", Object.keys(kept).length ? JSON.stringify(kept) : null);
  }

  /** Asks what became of taps whose page went away before the answer came. */
  resume() {
    for (const [key, { offer, kind }] of Object.entries(this.#kept())) this.#ask(key, offer, kind);
  }

  async #ask(key, offer, kind) {
    for (let n = 0; n < POLLS; n += 1) {
      let found;
      try {
        found = await viewer.get(`/v1/me/intents/${this.shop.id}/${key}`);
      } catch (refusal) {
        found = refusal.retry || !refusal.status || refusal.status >= 500 ? { pending: true } : {}; // nobody knows yet
      }
      if (!found.pending) {
        this.#remember(key, null);
        if (found.order || found.coupon || found.packet) this.#arrived(offer, kind, found);
        else this.byOffer.delete(offer);
        this.shop.draw();
        return;
      }
      this.#set(offer, { state: "moment", kind });
      await new Promise((done) => setTimeout(done, POLL));
    }
    this.byOffer.delete(offer);
  }
}
