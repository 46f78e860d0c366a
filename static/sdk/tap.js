// One tap on "buy" or "claim": one key, sent again under the same key until the server has said what became of it.
// No DOM here: the same file serves a browser and a mini-program.

const SILENCE = 5_000; // ms without any reply; the server promises a verdict or `pending` within 0.8 s, so the frame or its answer is lost
const FIRST_WAIT = 300; // ms, doubled per resend, with full jitter
const LONGEST_WAIT = 8_000;
const GIVE_UP = 45_000; // ms of plain `busy` or `fenced`; only when no earlier try can still be booked
const FIRST_LOOK = 2_500; // ms after `pending` before asking; the push usually comes first
const LONGEST_LOOK = 10_000;

/** A typed no of the server. `facts` is its whole body. */
export class Refusal extends Error {
  constructor(no) {
    super(no.code);
    this.code = no.code;
    this.facts = no;
    this.retry = Boolean(no.retry);
  }
}

/** 128 random bits as text; idempotency keys and comment ids. */
export function newKey(random = Math.random) {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
  else for (let i = 0; i < 16; i += 1) bytes[i] = Math.floor(random() * 256);
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** States: sending, moment ("one moment": the answer is under way), done, refused. `promise` gives {order}, {coupon} or {packet}. */
export class Tap {
  /** `link` is the room's side: {live(), stopped(), transmit(tap, id, t, d), forget(tap), nextId(), clock, random, lookup}. */
  constructor(link, t, d, { onState, key = newKey(link.random) } = {}) {
    Object.assign(this, { link, t, d, key, onState });
    this.tries = 0;
    this.id = null; // of the newest try
    this.waiting = false; // a try is out and not answered for good
    this.uncertain = false; // some try may still be booked without our knowing
    this.state = "sending";
    this.began = link.clock.now();
    this.timers = new Map();
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.promise.catch(() => {}); // whoever wants the refusal listens to the promise; nobody listening is no error
  }

  get over() {
    return this.state === "done" || this.state === "refused";
  }

  /** Sends a try if there is a socket; otherwise the room calls this again when there is one. */
  send() {
    if (this.over || !this.link.live()) return;
    this.#clear();
    this.tries += 1;
    this.id = this.link.nextId();
    this.waiting = true;
    this.link.transmit(this, this.id, this.t, { ...this.d, key: this.key, try: this.tries });
    this.#after("silence", SILENCE, () => {
      this.uncertain = true;
      this.#set("moment");
      this.send();
    });
  }

  /** The socket is gone: whether this try was booked is not known. The room sends again when it is back. */
  lost() {
    if (this.over) return;
    if (this.waiting) this.uncertain = true;
    this.waiting = false;
    this.#clear();
    this.#set("moment");
  }

  /** The room will not come back. What may be booked is still asked for over HTTP; the rest is known not to be. */
  stop() {
    if (this.over) return;
    if (this.uncertain) {
      this.waiting = true;
      this.#look(FIRST_LOOK);
    } else this.#fail({ code: "offline" });
  }

  /** The person left; whatever was booked is found among their orders. */
  abandon() {
    if (!this.over) this.#fail({ code: "offline" });
  }

  /** A reply to any try of this tap. Good news counts from every try, a refusal only from the newest. */
  reply(frame) {
    if (this.over) return;
    if (frame.ok && (frame.ok.order || frame.ok.coupon || frame.ok.packet)) this.#done(frame.ok);
    else if (frame.ok?.again) this.#again({});
    else if (frame.ok?.pending || frame.no?.code === "pending") this.#pending();
    else if (frame.no && frame.id === this.id) this.#refused(frame.no);
  }

  #pending() {
    this.uncertain = true;
    this.#drop("silence");
    this.#set("moment");
    if (!this.timers.has("look")) this.#look(FIRST_LOOK);
  }

  #look(wait) {
    this.#after("look", wait, async () => {
      let found = { pending: true };
      try {
        found = (await this.link.lookup(this.key)) || found;
      } catch {
        /* not reached: ask again later */
      }
      if (this.over || !this.waiting) return;
      if (found.order || found.coupon || found.packet) this.#done(found);
      else if (found.again) this.#again({});
      else this.#look(Math.min(LONGEST_LOOK, wait * 1.5));
    });
  }

  #refused(no) {
    if (!["fenced", "busy", "again"].includes(no.code) && !no.retry) {
      this.#fail(no);
    } else if (!this.uncertain && this.link.clock.now() - this.began > GIVE_UP) {
      this.#fail({ code: "busy", retry: true });
    } else this.#again(no);
  }

  #fail(no) {
    this.#finish("refused");
    this.reject(new Refusal(no));
  }

  #again(no) {
    this.#clear();
    this.waiting = false;
    if (this.link.stopped()) return this.#fail({ code: "offline" });
    this.#set("moment");
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(this.tries - 1, 10));
    this.#after("again", Math.max(no.wait || 0, this.link.random() * most), () => this.send());
    return undefined;
  }

  #done(result) {
    this.#finish("done");
    this.resolve(result);
  }

  #finish(state) {
    this.#clear();
    this.waiting = false;
    this.link.forget(this);
    this.#set(state);
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.onState?.(state, this);
  }

  #after(name, wait, act) {
    this.#drop(name);
    this.timers.set(
      name,
      this.link.clock.set(() => {
        this.timers.delete(name);
        act();
      }, wait),
    );
  }

  #drop(name) {
    if (this.timers.has(name)) this.link.clock.clear(this.timers.get(name));
    this.timers.delete(name);
  }

  #clear() {
    for (const name of [...this.timers.keys()]) this.#drop(name);
  }
}
