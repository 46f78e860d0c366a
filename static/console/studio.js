// One room as its host sees it: what the socket pushes, joined with what is asked for (figures, allotments, refunds).
import { Listeners } from "/static/shared/dom.js";
import { saleState } from "/static/shared/sale.js";
import { LiveRoom } from "/static/sdk/live.js";
import { doors } from "/static/login/session.js";
import { toast } from "/static/shared/toast.js";
import { gauged } from "./gauge.js";
import { going } from "./owed.js";
import { RunSheet } from "./run-sheet.js";

const FIGURES = 3_000; // ms between two askings for the figures
const SOON = 1_000; // ms at least between two, when something happened
const OFFERS = 15_000; // ms; allotments change by our own acts only, other consoles of this room are why it is asked at all
const RUN_SHEET = 2_000; // ms; a second host's edits are seen within them, their starts at once
const DRAW = 100; // ms between two drawings: the room's own tick
const COMMENTS = 400; // kept on the page; older ones are in the archive
const SAMPLES = 200; // of the curves: ten minutes at 3 s
const EARLY = 3 * 60_000; // ms before a socket token ends at which another is asked for; it lives ten minutes

export class Studio extends Listeners {
  /** `place`: GET /v1/rooms/{id}. `may.run`: a moderator is not shown offers of the books, figures and refunds, so they are not asked for. */
  constructor(id, place, may) {
    super();
    this.id = id;
    this.path = `/v1/rooms/${encodeURIComponent(id)}`;
    this.place = place;
    this.may = may;
    this.allotments = new Map(); // offer -> [{location, total, taken}]
    this.views = new Map(); // offer -> {view, team}, as asked for; the socket's are newer
    this.comments = [];
    this.gone = new Set(); // ids of comments that were withdrawn
    this.fresh = 0; // comments since they were last marked as seen
    this.muted = new Map(); // who -> until (epoch ms) or Infinity; what was done from this page
    this.figures = null;
    this.figuresAt = 0;
    this.figuresError = null;
    this.refunds = [];
    this.owed = []; // what groups owe: {offer, cause, total, done, failed, fen, done_fen}
    this.unpaid = []; // refunds the provider did not carry out, the first of `unpaidCount`
    this.unpaidCount = 0;
    this.samples = []; // {at, viewers, orders}
    this.rtt = null;
    this.timers = {};
    this.run = new RunSheet(this.path, () => this.draw());
    this.held = null; // {token, expires (epoch ms)}
    this.room = new LiveRoom({ url: place.hub_url, room: id, token: (anew) => this.#token(anew), socket: gauged((ms) => this.#gauge(ms)) });
    this.#listen();
  }

  start() {
    this.room.connect();
    if (!this.may.run) return;
    this.#turn("figures", FIGURES, () => this.askFigures());
    this.#turn("offers", OFFERS, () => this.askOffers());
    this.#turn("run", RUN_SHEET, () => this.run.ask());
    this.#turn("refunds", () => (this.owed.some(going) ? SOON : 2 * FIGURES), () => this.askRefunds());
  }

  async #token(anew) {
    if (anew || !this.held || this.held.expires - Date.now() < EARLY) this.held = await doors.post("/v1/staff/socket", { room: this.id });
    return this.held.token;
  }

  #listen() {
    this.room.on("status", () => this.draw());
    this.room.on("change", () => this.draw());
    this.room.on("event", (type, body) => this.#event(type, body));
    this.room.on("chat", (comments, whole) => this.#chat(comments, whole));
  }

  #event(type, body) {
    if (type === "comment.withdrawn") this.#withdrawn(body.id);
    else if (type.startsWith("offer.") || type.startsWith("sale.") || type === "team.done") this.askOffers();
    if (this.may.run && /^(offer|room)\.(opened|closed|pinned)$/.test(type)) this.run.ask();
    if (type === "team.done") this.askRefunds();
    if (Date.now() - this.figuresAt > SOON) this.askFigures();
  }

  #chat(comments, whole) {
    const known = new Set(whole ? [] : this.comments.map((one) => one.id));
    const added = comments.filter((one) => !known.has(one.id)).map((one) => (this.gone.has(one.id) ? { ...one, gone: true } : one));
    this.comments = [...(whole ? [] : this.comments), ...added].slice(-COMMENTS);
    if (!whole) this.fresh += added.length;
  }

  #withdrawn(id) {
    this.gone.add(id); // it may be told before its comment is
    this.comments = this.comments.map((one) => (one.id === id ? { ...one, gone: true } : one));
    this.draw();
  }

  #gauge(ms) {
    this.rtt = ms;
    this.draw();
  }

  /** Draws at most once per tick, however much happens in it. */
  draw() {
    if (this.timers.draw) return;
    this.timers.draw = setTimeout(() => {
      this.timers.draw = undefined;
      this.tell();
    }, DRAW);
  }

  #turn(name, every, act) {
    const go = async () => {
      await act();
      const pause = typeof every === "function" ? every() : every;
      this.timers[name] = setTimeout(go, document.hidden ? pause * 4 : pause);
    };
    go();
  }

  // -- asked for --

  async askFigures() {
    if (!this.may.run) return;
    this.figuresAt = Date.now();
    try {
      this.figures = await doors.get(`${this.path}/figures`);
      this.figuresError = null;
      this.figuresGot = Date.now();
      this.samples = [...this.samples, { at: Date.now(), viewers: this.room.counts.viewers, orders: this.figures.orders }].slice(-SAMPLES);
    } catch (refusal) {
      this.figuresError = refusal;
    }
    this.draw();
  }

  async askOffers() {
    if (!this.may.run) return;
    try {
      const { offers } = await doors.get(`${this.path}/offers`);
      for (const { view, allotments, team } of offers) {
        this.allotments.set(view.id, allotments);
        this.views.set(view.id, { view, team });
      }
      this.offersKnown = true;
      this.draw();
    } catch {
      /* the socket's state goes on; asked again soon */
    }
  }

  async askRefunds() {
    if (!this.may.run) return;
    try {
      const { refunds, groups, failed, failed_count: unpaidCount } = await doors.get(`${this.path}/refunds`);
      Object.assign(this, { refunds, owed: groups, unpaid: failed, unpaidCount });
      this.draw();
    } catch {
      /* asked again soon; the list says nothing newer than it is */
    }
  }

  // -- read by the panels --

  get view() {
    return this.room.state.get("room") || { phase: this.place.phase, title: this.place.title, pin: null };
  }

  get live() {
    return this.view.phase === "live";
  }

  /** A sale may be made for later before the show begins. */
  get plannable() {
    return this.view.phase !== "ended";
  }

  /** Every offer of the show: open ones first (the pinned one on top), newest first. */
  offers() {
    const found = new Map();
    for (const [id, { view, team }] of this.views) found.set(id, this.#offer(view, team));
    for (const [key, view] of this.room.state) {
      if (key.startsWith("offer:")) found.set(view.id, this.#offer(view, this.views.get(view.id)?.team));
    }
    const pin = this.view.pin;
    const rank = (one) => (one.phase === "open" ? (one.id === pin ? 0 : 1) : 2);
    return [...found.values()].sort((a, b) => rank(a) - rank(b) || b.id - a.id);
  }

  /** A card: the view, `places` [{code, total (null: not told), left}], `total`, `left`, `taken`, `units` paid, `team`, or `teams`: the terms of small ones. */
  #offer(view, askedTeam) {
    const pushed = this.room.state.get(`left:${view.id}`)?.left;
    const asked = this.allotments.get(view.id) || [];
    const codes = [...new Set([...asked.map((one) => one.location), ...Object.keys(pushed || {})])];
    const places = codes.map((code) => {
      const row = asked.find((one) => one.location === code);
      const left = pushed?.[code] ?? (row ? row.total - row.taken : 0);
      return { code, left, total: row ? Math.max(row.total, left) : null };
    });
    const sum = (name) => places.reduce((all, one) => all + one[name], 0);
    const phase = this.views.get(view.id)?.view.phase === "ended" ? "ended" : view.phase;
    const units = this.figures?.by_offer?.find((one) => one.offer === view.id)?.units ?? 0;
    const left = places.length ? sum("left") : view.total;
    const total = asked.length ? sum("total") : Math.max(view.total, left);
    const state = view.kind === "sale" ? saleState({ ...view, phase }, left, this.room.now()) : null;
    return { ...view, phase, state, places, total, left, taken: total - left, units, team: this.room.state.get(`team:${view.id}`) || askedTeam || null, teams: view.team || null, waiting: this.room.state.get(`waitlist:${view.id}`)?.waiting ?? null };
  }

  // -- what the host does; each throws ApiRefusal --

  begin = () => doors.post(`${this.path}/start`);
  finish = () => doors.post(`${this.path}/stop`);
  pin = (offer) => doors.post(`${this.path}/pin`, { offer });

  /** `kind`: sales, coupons, groups, packets or draws; `key`: the form's. */
  async open(kind, body, key) {
    const made = await doors.post(`${this.path}/${kind}`, body, key);
    this.askOffers();
    return made.offer;
  }

  opened = (text) => toast(text, "good");

  async end(offer) {
    await doors.post(`/v1/offers/${offer}/end`);
    await this.askOffers();
  }

  async reprice(offer, fen) {
    await doors.post(`/v1/offers/${offer}/price`, { fen });
    await this.askOffers();
  }

  async moveSale(offer, body) {
    const moved = await doors.post(`/v1/offers/${offer}/time`, body);
    await this.askOffers();
    return moved;
  }

  async voidCoupon(offer, reason) {
    await doors.post(`/v1/offers/${offer}/void`, { reason });
    await this.askOffers();
  }

  closeDraw = (draw) => doors.post(`/v1/draws/${draw}/close`);

  async addStock(offer, location, qty, key) {
    await doors.post(`/v1/offers/${offer}/stock`, { location, qty }, key);
    await this.askOffers();
  }

  /** `minutes` null: for good. */
  async mute(who, on, minutes = null) {
    await doors.post(`${this.path}/mute`, { who, minutes, on });
    if (on) this.muted.set(who, minutes === null ? Infinity : Date.now() + minutes * 60_000);
    else this.muted.delete(who);
    this.draw();
  }

  async withdraw(comment) {
    await doors.post(`${this.path}/comments/${encodeURIComponent(comment)}/withdraw`);
    this.#withdrawn(comment);
  }

  async answerRefund(id, verb) {
    await doors.post(`/v1/refunds/${id}/${verb}`);
    await Promise.all([this.askRefunds(), this.askFigures()]);
  }
}
