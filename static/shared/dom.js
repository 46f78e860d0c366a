// The one place where pages get preact and htm from; names are resolved by the import map in every page's head.
import { h, render, Fragment, createContext } from "preact";
import { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext, useReducer, useId } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { h, render, Fragment, createContext };
export { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext, useReducer, useId };

/** Class names joined; falsy ones are left out. */
export const cls = (...names) => names.filter(Boolean).join(" ");

/**
 * Renders again every `ms` milliseconds while `on`; for countdowns. Returns the time, epoch ms: that of this very drawing, for one that
 * comes from elsewhere between the last turn and the end of `on` would else leave the clock a moment before it for ever.
 */
export function useNow(ms = 1000, on = true) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(again, ms);
    return () => clearInterval(timer);
  }, [ms, on]);
  return Date.now();
}

/** Renders again whenever the store says so. A store is anything with `subscribe(fn) -> unsubscribe`. */
export function useStore(store) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => store.subscribe(again), [store]);
  return store;
}

/** A set of listeners with a `subscribe`: the base of every small store here. */
export class Listeners {
  constructor() {
    this.all = new Set();
  }

  subscribe(listener) {
    this.all.add(listener);
    return () => this.all.delete(listener);
  }

  tell(...facts) {
    for (const listener of [...this.all]) listener(...facts);
  }
}

/**
 * Loads a promise-returning function when `inputs` change.
 * Returns {data, error, busy, again()}; an answer that comes after the inputs changed is dropped.
 */
export function useLoad(load, inputs) {
  const [held, set] = useState({ data: null, error: null, busy: true });
  const [round, next] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let wanted = true;
    set((was) => ({ ...was, busy: true }));
    load().then(
      (data) => wanted && set({ data, error: null, busy: false }),
      (error) => wanted && set((was) => ({ data: was.data, error, busy: false })),
    );
    return () => {
      wanted = false;
    };
  }, [...inputs, round]);
  return { ...held, again: next };
}

/** As `useLoad`, and again `ms` after each answer: a server that is slow is not asked by more and more. */
export function usePoll(load, inputs, ms) {
  const held = useLoad(load, inputs);
  useEffect(() => {
    if (held.busy) return undefined;
    const timer = setTimeout(held.again, ms);
    return () => clearTimeout(timer);
  }, [held.busy]);
  return held;
}

/** localStorage that may be absent (private mode, in-app browsers): reads give null, writes are forgotten. */
export const keep = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      /* kept for this page's life only by whoever asked */
    }
  },
};
