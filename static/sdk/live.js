// A room over one socket: join, resume, merge, and taps that are never booked twice. Wire v1; see live/protocol.
// No DOM and no storage here: the same file serves a browser and a mini-program (give it a `socket` made of wx.connectSocket).
import { Asks } from "./asks.js";
import { Mirror } from "./mirror.js";
import { CLOCK, Signals } from "./signals.js";
import { Refusal, Tap, newKey } from "./tap.js";

export { Refusal, Tap, newKey };

const HELLO = 8_000; // ms to open and be greeted, else try another time
const HIDDEN = 10_000; // ms in the background before we leave by ourselves; WeChat cuts the socket about then anyway
const BASE = 500; // backoff: uniform(0, min(CAP, BASE * 2^n))
const CAP = 20_000;
const GAP_REST = 5_000; // ms; a second gap within this waits its turn, so that a broken log cannot make a client spin
const EXPIRED = 4004; // the token ran out: come back with another
const STOP = 4500; // close codes from here on: do not come back
const BAD_TOKEN = 4500; // … but a token may only have been too old
const TOKEN_TRIES = 2;
const COME_BACK = new Set(["busy", "slow_down", "unavailable", "fenced"]);

/**
 * new LiveRoom({url, room, token, lookup}): `token(fresh)` promises a token; `lookup(key)` asks over HTTP what became of a tap.
 * on(name, fn): status(name, facts) · you(who) · state(key, value) · event(type, body, seq) · chat(list, whole) · counts({viewers, likes}) ·
 *   own(body) · ownGap(ms to wait before fetching) · reset() · change() once after each frame.
 * Status: idle, connecting, live, waiting {at}, hidden, stopped {code, why}.
 */
export class LiveRoom extends Signals {
  constructor({ url, room, token, lookup, socket = (at) => new WebSocket(at), clock = CLOCK, random = Math.random }) {
    super(clock);
    Object.assign(this, { url, room, token, socket, random });
    this.mirror = new Mirror((...facts) => this.tell(...facts), random);
    this.state = this.mirror.state; // key -> value, kept up to date in place
    this.status = "idle";
    this.facts = {};
    this.you = null;
    this.skew = 0; // server's clock − ours, ms
    this.spread = [0, 8000]; // ms; replaced by the server's
    this.taps = new Set();
    this.ids = new Map(); // id of a command -> Tap
    this.asks = new Asks(clock);
    this.lastId = 0;
    this.failures = 0;
    this.lastGap = -Infinity;
    this.tokenTries = 0;
    this.freshToken = false;
    this.bye = null;
    this.wire = null;
    this.link = {
      clock, random, live: () => this.status === "live", stopped: () => this.status === "stopped", nextId: () => this.#next(),
      transmit: (tap, id, t, d) => {
        this.ids.set(id, tap);
        this.#send({ id, t, d });
      },
      forget: (tap) => {
        this.taps.delete(tap);
        for (const [id, owner] of this.ids) if (owner === tap) this.ids.delete(id);
      },
      lookup: lookup || ((key) => this.#command("ask", { key })),
    };
  }

  get counts() {
    return this.mirror.counts;
  }

  /** The server's clock, epoch ms. */
  now() {
    return this.clock.now() + this.skew;
  }

  connect() {
    if (this.status === "connecting" || this.status === "live") return;
    this.stopTimer("wait");
    this.#open();
  }

  close() {
    this.#leave("idle");
  }

  /** To the background: after 10 s the socket is closed, unless a tap still waits for its verdict. */
  hide() {
    this.timer("hide", HIDDEN, () => (this.taps.size ? this.hide() : this.#leave("hidden")));
  }

  show() {
    this.stopTimer("hide");
    if (this.status === "hidden") this.connect();
    else this.nudge();
  }

  /** The network or the page is back: do not wait any longer, unless the server asked us to. */
  nudge() {
    if (this.status === "waiting" && !this.bye) this.connect();
  }

  /** Another person now (after a login): leave and join anew with their token. Own events start over. */
  rejoin() {
    this.mirror.position.p = null;
    this.#leave("idle");
    for (const tap of [...this.taps]) tap.abandon(); // a tap is its person's; another must not send it
    this.connect();
  }

  /** A comment. Resolves {cid, id}; rejects with a Refusal, `offline` when it could not be sent or was not answered. */
  say(text, cid = newKey(this.random)) {
    return this.#command("say", { cid, text });
  }

  /** Hearts, already summed by the caller; lost ones are not worth a retry. */
  like(n) {
    this.#command("like", { n }).catch(() => {});
  }

  /** `lines`: [{offer, qty, version}], `at`: acceptable stores, best first, `team`: the small team to join. Returns a Tap. */
  buy({ lines, at, team }, options) {
    return this.#tap("buy", team ? { lines, at, team } : { lines, at }, options);
  }

  claim(offer, { word, ...options } = {}) {
    return this.#tap("claim", { offer, word }, options);
  }

  async #open() {
    const mine = { open: false };
    this.wire = mine;
    this.bye = null;
    this.#set("connecting");
    const fresh = this.freshToken;
    this.freshToken = false;
    try {
      mine.token = await this.token(fresh);
    } catch {
      if (this.wire === mine) this.#ended();
      return;
    }
    if (this.wire !== mine) return;
    mine.socket = this.socket(this.url);
    mine.socket.onopen = () => {
      mine.open = true;
      mine.helloId = this.#next();
      if (this.wire === mine) this.#send({ id: mine.helloId, t: "hello", d: { v: 1, token: mine.token, room: this.room, ...this.mirror.resume() } });
    };
    mine.socket.onmessage = (event) => this.wire === mine && this.#heard(event.data);
    mine.socket.onerror = () => {};
    mine.socket.onclose = (event) => this.wire === mine && this.#ended(event?.code);
    this.timer("hello", HELLO, () => this.#cut());
  }

  #send(frame) {
    if (this.wire?.open) this.wire.socket.send(JSON.stringify(frame));
  }

  #heard(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.bye) this.bye = frame.bye;
    else if (frame.id === this.wire.helloId) this.#greeted(frame);
    else if (frame.id !== undefined) (this.ids.get(frame.id) || this.asks).reply(frame);
    else if (frame.reset) this.mirror.reset(frame.reset);
    else if (frame.own) this.mirror.own(frame.own);
    else if (frame.r === this.room && !this.mirror.tick(frame)) this.#gap();
    this.tell("change");
  }

  #greeted({ ok, no }) {
    this.stopTimer("hello");
    if (no) return this.#unwelcome(no);
    Object.assign(this, { failures: 0, tokenTries: 0, you: ok.you, skew: ok.now - this.clock.now(), spread: ok.rej || this.spread });
    this.tell("you", ok.you);
    this.mirror.hello(ok);
    this.#set("live");
    this.#beat(ok.ping || 25_000);
    for (const tap of this.taps) tap.send();
    return undefined;
  }

  #unwelcome(no) {
    const token = no.code === "expired" || no.code === "unauthorised";
    if (token) {
      this.freshToken = true;
      this.tokenTries += 1;
    }
    if (token ? this.tokenTries > TOKEN_TRIES : !no.retry && !COME_BACK.has(no.code)) return this.#leave("stopped", { code: no.code });
    return this.#cut(no.wait);
  }

  #gap() {
    const rested = this.clock.now() - this.lastGap > GAP_REST;
    this.lastGap = this.clock.now();
    this.#cut(rested ? 0 : undefined);
  }

  /** Every `ping` ms: a ping, and the token, which goes over the wire when it is another than the socket was opened with. */
  #beat(ping) {
    const wire = this.wire;
    const here = () => this.wire === wire;
    this.timer("ping", ping, () => {
      this.#beat(ping);
      this.#command("ping", { at: this.clock.now() }).then(
        (ok) => {
          if (ok.now) this.skew = ok.now - this.clock.now();
        },
        () => here() && this.#cut(),
      );
      const change = (token) => {
        if (!here() || token === wire.token) return;
        wire.token = token;
        this.#command("refresh", { token }).catch((no) => here() && no.code !== "offline" && this.#cut());
      };
      this.token(false).then(change, () => {});
    });
  }

  #next() {
    this.lastId += 1;
    return this.lastId;
  }

  #command(t, d) {
    if (this.status !== "live") return Promise.reject(new Refusal({ code: "offline" }));
    const id = this.#next();
    const reply = this.asks.put(id);
    this.#send({ id, t, d });
    return reply;
  }

  #tap(t, d, options) {
    const tap = new Tap(this.link, t, d, options);
    this.taps.add(tap);
    tap.send();
    return tap;
  }

  /** Drops the socket now and treats it as lost. `wait`: ms to stay away at least; 0: come back at once. */
  #cut(wait) {
    const socket = this.wire?.socket;
    this.#ended(undefined, wait);
    socket?.close();
  }

  #ended(code, wait) {
    const wasLive = this.status === "live";
    this.#unplug();
    const why = this.bye?.code || code;
    if (why === EXPIRED) this.freshToken = true;
    if (why === BAD_TOKEN && this.tokenTries < TOKEN_TRIES) {
      this.tokenTries += 1;
      this.freshToken = true;
    } else if (why >= STOP && why < 5000) {
      this.#stop({ code: why, why: this.bye?.why });
      return;
    }
    const away = this.#delay(wasLive, wait);
    this.#set("waiting", { at: this.clock.now() + away });
    this.timer("wait", away, () => this.#open());
  }

  /** Full jitter. The first return after a lost socket is spread over the server's own range, since thousands may have been lost with it. */
  #delay(wasLive, wait) {
    if (wait === 0) return 0;
    const asked = this.bye?.after; // our own place in the server's spreading
    const [low, high] = wasLive && asked === undefined ? this.spread : [0, Math.min(CAP, BASE * 2 ** this.failures)];
    this.failures = Math.min(this.failures + 1, 10);
    return Math.max(wait || 0, (asked || 0) + low + this.random() * (high - low));
  }

  #leave(status, facts) {
    const socket = this.wire?.socket;
    this.#unplug();
    this.stopTimer("wait");
    if (status === "stopped") this.#stop(facts);
    else this.#set(status, facts);
    socket?.close(1000);
  }

  #stop(facts) {
    this.#set("stopped", facts);
    for (const tap of [...this.taps]) tap.stop();
  }

  #unplug() {
    this.wire = null;
    this.status = "idle"; // before the taps hear of it, so that none sends into the void
    for (const name of ["hello", "ping"]) this.stopTimer(name);
    this.asks.drop();
    this.ids.clear();
    for (const tap of this.taps) tap.lost();
  }

  #set(status, facts = {}) {
    this.status = status;
    this.facts = facts;
    this.tell("status", status, facts);
  }
}
