// What the room page knows and does: the room over the socket, this person's orders and coupons over HTTP, the sheets on screen.
import { Listeners, keep } from "../shared/dom.js";
import { viewer } from "../shared/api.js";
import { pick, t } from "../shared/i18n.js";
import { refused, toast } from "../shared/toast.js";
import { nextMoment, saleState } from "../shared/sale.js";
import { LiveRoom } from "../sdk/live.js";
import { saleNews } from "./sale.js";
import { Taps } from "./taps.js";
import { Waits } from "./waits.js";
import { Packets } from "./packets.js";
import { Draws } from "./draws.js";
import { arrive } from "./share.js";
import { Follow } from "./follow.js";
import { Teams, linked, teamNews } from "./team.js";

const COMMENTS = 80; // kept on screen; older ones scroll away
const AGAIN = 2_000; // ms, doubled each time and spread, after which what was not answered is asked for again …
const TRIES = 6; // … so often: four minutes
const LIKES_EVERY = 500; // ms
const LIKES_MOST = 20; // the wire's limit for one frame

export class Shop extends Listeners {
  constructor(facts, demo) {
    super();
    Object.assign(this, { facts, demo, id: facts.id });
    this.live = new LiveRoom({
      url: facts.hub_url, room: facts.id, token: (fresh) => viewer.token(fresh),
      lookup: (key) => viewer.get(`/v1/me/intents/${facts.id}/${key}`),
    });
    this.taps = new Taps(this);
    this.waits = new Waits(this);
    this.packets = new Packets(this);
    this.draws = new Draws(this);
    this.teams = new Teams(this);
    this.follow = new Follow(this);
    this.comments = [];
    this.withdrawn = new Set();
    this.orders = new Map(); // no -> ORDER
    this.coupons = new Map(); // id -> COUPON
    this.fetched = false;
    this.sheets = []; // [{name, …}] the last one is on top
    this.news = { text: "", n: 0 }; // said to screen readers
    this.liked = 0;
    this.sumLikes = 0;
    this.drawing = false;
    this.moments = new Set(); // of the server's clock, at which something is drawn anew
    this.muted = true; // browsers start a video by itself only without sound
    this.picture = false; // whether the video is running
  }

  start() {
    const { live } = this;
    for (const name of ["status", "change", "counts", "you"]) live.on(name, () => this.draw());
    live.on("event", (type, body) => this.#event(type, body));
    live.on("chat", (list, whole) => this.#chat(list, whole));
    live.on("own", (body) => this.#own(body));
    live.on("ownGap", (wait) => viewer.known && this.#later(() => this.fetchMine(), this.fetched ? wait : 0));
    document.addEventListener("visibilitychange", () => (document.hidden ? live.hide() : live.show()));
    addEventListener("online", () => live.nudge());
    addEventListener("pagehide", () => live.close());
    addEventListener("pageshow", (event) => event.persisted && live.connect());
    setInterval(() => this.#sendLikes(), LIKES_EVERY);
    let who = viewer.you?.sub;
    viewer.subscribe(() => {
      const known = [who, viewer.you?.sub].some((one) => one?.startsWith("p:"));
      if (who !== viewer.you?.sub && known) this.changedPerson();
      who = viewer.you?.sub;
    });
    live.connect();
    if (viewer.known) this.taps.resume();
    arrive(this);
    if (linked) this.open("team", { id: linked });
  }

  /** Many frames may come between two drawings; one is enough. */
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    const once = () => {
      this.drawing = false;
      this.tell();
    };
    if (document.hidden) setTimeout(once, 200);
    else requestAnimationFrame(once);
  }

  /** Draws when this moment of the server's clock has come: a countdown begins, a sale opens or is over. */
  #drawAt(at) {
    if (at === null || this.moments.has(at)) return;
    this.moments.add(at);
    setTimeout(() => {
      this.moments.delete(at);
      this.draw(); // too early by a clock that was set right meanwhile: asked for anew then
    }, Math.max(0, at - this.live.now()));
  }

  // -- reading the room --

  get room() {
    return this.live.state.get("room") || { phase: this.facts.phase, title: this.facts.title, pin: null, notice: "" };
  }

  /** Cards of every offer, open ones first, what is still to come after them, the newest first among each. */
  offers() {
    const all = [...this.live.state].filter(([key]) => key.startsWith("offer:")).map(([, view]) => this.offer(view.id));
    return all.sort((a, b) => Number(b.open) - Number(a.open) || Number(a.soon) - Number(b.soon) || b.view.opens - a.view.opens || b.view.id - a.view.id);
  }

  /** {view, left: {store: n}, units, team, open, soon (not yet to be bought), state (of a sale)} or null. */
  offer(id) {
    const view = this.live.state.get(`offer:${id}`);
    if (!view) return null;
    const left = this.live.state.get(`left:${id}`)?.left || null;
    const units = left ? Object.values(left).reduce((sum, n) => sum + n, 0) : view.total;
    const team = this.live.state.get(`team:${id}`) || null;
    const now = this.live.now();
    const open = view.phase === "open" && (view.closes === null || view.closes > now) && (!team || team.state === "filling");
    const state = view.kind === "sale" ? saleState(view, units, now) : null;
    if (state) this.#drawAt(nextMoment(view, now));
    return { view, left, units, team, open, soon: state === "SCHEDULED" || state === "COUNTDOWN", state };
  }

  store(code) {
    return this.facts.stores.find((one) => one.code === code) || { code, name: { zh: code, en: code }, address: { zh: "", en: "" } };
  }

  /** How many coupons of this offer the person holds, used ones included. */
  couponsOf(offer) {
    return [...this.coupons.values()].filter((one) => one.offer === offer && one.state !== "VOID").length;
  }

  // -- sheets --

  open(name, facts = {}) {
    this.sheets = [...this.sheets.filter((one) => one.name !== name), { name, ...facts }];
    this.draw();
  }

  close(name) {
    this.sheets = this.sheets.filter((one) => one.name !== name);
    this.draw();
  }

  /** Does `then` as a known person: at once, or after they said who they are. */
  identified(then) {
    if (viewer.known) then();
    else this.open("identify", { then });
  }

  // -- this person --

  /** After a login or a sign-out, here or on another page of this shop: other orders, another socket. */
  changedPerson() {
    this.orders.clear();
    this.coupons.clear();
    this.taps.clear();
    this.waits.clear();
    this.packets.clear();
    this.draws.clear();
    this.follow.clear();
    this.fetched = false;
    this.live.rejoin();
    arrive(this);
    this.draw();
  }

  async fetchMine() {
    if (!viewer.known) return;
    const query = `?room=${encodeURIComponent(this.id)}`;
    const [{ orders }, { coupons }] = await Promise.all([viewer.get(`/v1/me/orders${query}`), viewer.get(`/v1/me/coupons${query}`)]);
    // Asked first and answered last is possible: what was pushed or fetched meanwhile is newer, and may not be on this list.
    const newer = (one) => (this.orders.get(one.no)?.version > one.version ? this.orders.get(one.no) : one);
    const listed = new Map(orders.map((one) => [one.no, newer(one)]));
    this.orders = new Map([...[...this.orders].filter(([no]) => !listed.has(no)), ...listed]);
    this.coupons = new Map(coupons.map((one) => [one.id, one]));
    await Promise.all([this.waits.fetch(), this.packets.fetch()]);
    this.fetched = true;
    this.draw();
  }

  async fetchOrder(no) {
    return this.keepOrder(await viewer.get(`/v1/me/orders/${encodeURIComponent(no)}`));
  }

  /** Takes an order in unless a newer version is held. Returns the newer. */
  keepOrder(order) {
    const held = this.orders.get(order.no);
    if (held && held.version > order.version) return held;
    this.orders = new Map([...(held ? [] : [[order.no, order]]), ...this.orders]);
    this.orders.set(order.no, order);
    this.draw();
    return order;
  }

  async fetchCoupons() {
    const { coupons } = await viewer.get(`/v1/me/coupons?room=${encodeURIComponent(this.id)}`);
    this.coupons = new Map(coupons.map((one) => [one.id, one]));
    this.draw();
  }

  #own(body) {
    if (body.t === "order") {
      const held = this.orders.get(body.no);
      const changed = !held || body.version >= held.version;
      const told = teamNews(held, body);
      if (told) this.say(told);
      if (held && body.version > held.version) this.keepOrder({ ...held, version: body.version, state: body.state, refunded: body.refunded });
      if (changed) this.#later(() => this.fetchOrder(body.no), 0); // lines, refund and pickup code come over HTTP
    } else if (body.t === "coupon") {
      const held = this.coupons.get(body.id);
      if (held) this.coupons.set(body.id, { ...held, state: body.state, void: body.void });
      if (held && body.void && held.state !== body.state) this.note(t("coupon.void.told", { why: body.void }), "bad");
      this.#later(() => this.fetchCoupons(), 0); // which order holds it comes over HTTP
    } else if (body.t === "waitlist") this.waits.news(body);
    else if (body.t === "packet") this.packets.keep(body);
    else if (body.t === "prize") {
      this.say(t("draw.yours", { name: pick(body.prize) }));
      if (body.points) this.#later(() => this.packets.fetch(), 0); // the balance
    } else this.#later(() => this.fetchMine(), Math.random() * 1000); // a kind of news this page does not know yet
    this.draw();
  }

  /** Asks later; again when nobody answered, for what is on this page would else stay as it was until the person looks for it. */
  #later(act, wait, tries = 0) {
    const who = viewer.you?.sub;
    const failed = (refusal) => {
      if (viewer.you?.sub !== who) return;
      if (refusal.code !== "offline" && !refusal.retry) refused(refusal);
      else if (tries < TRIES) this.#later(act, AGAIN * 2 ** tries * (0.5 + Math.random()), tries + 1);
    };
    setTimeout(() => viewer.you?.sub === who && act().catch(failed), wait);
  }

  // -- what happens in the room --

  #event(type, body) {
    const view = body.offer === undefined || body.offer === null ? null : this.live.state.get(`offer:${body.offer}`);
    const name = pick(view?.name);
    if (type === "comment.withdrawn") {
      this.withdrawn.add(body.id);
      this.comments = this.comments.filter((one) => one.id !== body.id);
    } else if (type === "offer.opened") this.say(t(`room.new.${body.kind}`, { name }));
    else if (type === "offer.sold_out") this.say(t("room.sold_out", { name }));
    else if (type === "offer.back") this.say(t("room.back", { name }));
    else if (type === "offer.price" && view?.kind === "group") this.say(t("room.fell", { fen: body.fen }));
    else if (saleNews(type, body, view)) this.say(saleNews(type, body, view));
    else if (type === "draw.opened") this.say(t("draw.new", { name: pick(this.live.state.get(`draw:${body.draw}`)?.prize) }));
    else if (type === "draw.done") this.say(t("draw.told", { n: body.won.length }));
    else if (type === "team.done") this.say(t(`room.team.${body.state}`, { name }));
  }

  /** Said to screen readers and shown for a moment over the video. */
  say(text) {
    this.news = { text, n: this.news.n + 1 };
    this.draw();
  }

  #chat(list, whole) {
    const held = whole ? [] : this.comments;
    const known = new Set(held.map((one) => one.id));
    const fresh = list.filter((one) => !known.has(one.id) && !this.withdrawn.has(one.id));
    this.comments = [...held, ...fresh].slice(-COMMENTS);
  }

  // -- picture and sound --

  showPicture(shown) {
    this.picture = shown;
    this.draw();
  }

  setMuted(muted) {
    this.muted = muted;
    this.draw();
  }

  // -- hearts --

  like() {
    this.liked += 1;
    this.sumLikes += 1;
    this.draw();
  }

  #sendLikes() {
    if (!this.sumLikes) return;
    this.live.like(Math.min(LIKES_MOST, this.sumLikes));
    this.sumLikes = 0;
  }

  note = toast;

  /** Remembers small things of this room on this device. */
  keepHere = (name, value) => keep.set(`live.${name}.${this.id}`, value);
  keptHere = (name) => keep.get(`live.${name}.${this.id}`);
}
