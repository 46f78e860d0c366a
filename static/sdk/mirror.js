// What this client holds of a room: state by key and version, its place in the room's log, its place among its own events.

const OWN_JITTER = 3_000; // ms; everyone misses the same own events at once, so they fetch spread out

export class Mirror {
  /** `tell(name, …)`: where changes are announced. */
  constructor(tell, random) {
    Object.assign(this, { tell, random });
    this.state = new Map(); // key -> value
    this.versions = new Map(); // key -> version
    this.counts = { viewers: 0, likes: 0 };
    this.position = { e: null, s: null, p: null }; // log epoch, last critical seq, last own position
  }

  /** The part of `hello` that asks for what was missed. */
  resume() {
    const { e, s, p } = this.position;
    return { ...(e !== null && s !== null ? { e, s } : {}), ...(p !== null ? { p } : {}) };
  }

  /** The answer to hello: the whole state, then what was missed, or everything anew. */
  hello(hello) {
    if (hello.e !== this.position.e) this.position.p = null; // another log counts own events anew
    this.#whole(hello, !hello.rec);
    for (const [seq, type, body] of hello.ev || []) this.tell("event", type, body, seq);
    this.position.p ??= 0; // else own() could not tell new from old
    if (hello.own) this.own(hello.own);
    else this.#missedOwn();
    this.position.p = Math.max(this.position.p, hello.p || 0);
  }

  /** The log began anew: drop seq, state and versions, and ask for what is ours. */
  reset(reset) {
    this.position.p = reset.p || 0;
    this.#whole(reset, true);
    this.#missedOwn();
  }

  /** One tick. False when critical events are missing: resume from the position held. State is merged before events are told. */
  tick(frame) {
    if (frame.stale) for (const key of [...this.state.keys()]) if (!frame.st?.[key]) this.#put(key, null); // the whole map: what is not in it is gone
    this.#merge(frame.st);
    if (frame.v) this.#counted({ viewers: frame.v[0], likes: frame.v[1] });
    for (const [seq, type, body] of frame.ev || []) {
      if (seq <= this.position.s) continue;
      if (seq !== this.position.s + 1) return false;
      this.position.s = seq;
      this.tell("event", type, body, seq);
    }
    if (frame.s > this.position.s) return false;
    if (frame.p > this.position.p) this.position.p = frame.p; // ours up to there came before this frame
    if (frame.ch?.length) this.tell("chat", frame.ch, false);
    return true;
  }

  /** Own events [[p, previous p, body], …]. A previous one we do not hold is a gap: fetch orders and coupons over HTTP. */
  own(entries) {
    for (const [p, before, body] of entries) {
      if (p <= this.position.p) continue;
      if ((before || 0) > this.position.p) this.#missedOwn();
      this.position.p = p;
      this.tell("own", body);
    }
  }

  #missedOwn() {
    this.tell("ownGap", this.random() * OWN_JITTER);
  }

  /** `anew`: whatever was held is void, chat included. */
  #whole({ e, s, snap }, anew) {
    this.position.e = e;
    this.position.s = s;
    const st = snap?.st || {};
    this.versions.clear();
    for (const key of [...this.state.keys()]) if (!st[key]) this.#put(key, null);
    this.#merge(st);
    if (anew) this.tell("reset");
    if (snap?.chat) this.tell("chat", snap.chat, anew);
    this.#counted({ viewers: snap?.viewers ?? this.counts.viewers, likes: snap?.likes ?? this.counts.likes });
  }

  #merge(st) {
    for (const [key, [version, value]] of Object.entries(st || {})) {
      if (this.versions.has(key) && version <= this.versions.get(key)) continue;
      this.versions.set(key, version);
      this.#put(key, value);
    }
  }

  #put(key, value) {
    if (value === null) this.state.delete(key);
    else this.state.set(key, value);
    this.tell("state", key, value);
  }

  #counted(counts) {
    this.counts = counts;
    this.tell("counts", counts);
  }
}
