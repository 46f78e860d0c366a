// Listeners by name, and one timer per name.

/** Time as it is; tests bring their own. */
export const CLOCK = { now: () => Date.now(), set: (act, ms) => setTimeout(act, ms), clear: (timer) => clearTimeout(timer) };

export class Signals {
  constructor(clock) {
    this.clock = clock;
    this.listeners = new Map();
    this.timers = new Map();
  }

  /** Returns a function that stops listening. */
  on(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(listener);
    return () => this.listeners.get(name).delete(listener);
  }

  tell(name, ...facts) {
    for (const listener of this.listeners.get(name) || []) listener(...facts);
  }

  /** Does `act` in `ms`, instead of what this name was to do before. */
  timer(name, ms, act) {
    this.stopTimer(name);
    this.timers.set(name, this.clock.set(act, ms));
  }

  stopTimer(name) {
    if (this.timers.has(name)) this.clock.clear(this.timers.get(name));
    this.timers.delete(name);
  }
}
