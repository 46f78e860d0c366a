// Commands that wait for one reply: comments, hearts, pings, token changes. They end with the socket; taps (tap.js) do not.
import { Refusal } from "./tap.js";

const PATIENCE = 10_000; // ms

export class Asks {
  constructor(clock) {
    this.clock = clock;
    this.waiting = new Map(); // id -> {resolve, reject, timer}
  }

  /** Resolves with `ok`, rejects with a Refusal; `offline` when nothing came or the socket went. */
  put(id) {
    return new Promise((resolve, reject) => {
      const timer = this.clock.set(() => this.#take(id)?.reject(new Refusal({ code: "offline" })), PATIENCE);
      this.waiting.set(id, { resolve, reject, timer });
    });
  }

  reply({ id, ok, no }) {
    const one = this.#take(id);
    if (no) one?.reject(new Refusal(no));
    else one?.resolve(ok);
  }

  /** The socket is gone. */
  drop() {
    for (const id of [...this.waiting.keys()]) this.#take(id).reject(new Refusal({ code: "offline" }));
  }

  #take(id) {
    const one = this.waiting.get(id);
    if (one) this.clock.clear(one.timer);
    this.waiting.delete(id);
    return one;
  }
}
