// HTTP doors: JSON in, JSON out. A refusal of the server is an ApiRefusal; so is no answer at all (code "offline").
import { Listeners, keep } from "./dom.js";

const PATIENCE = 12_000; // ms; longer than the slowest door (a payment provider), short enough to say something
const EARLY = 90_000; // ms before a token ends at which another is fetched: one missed try still leaves time
const SLOT = "live.viewer";

export class ApiRefusal extends Error {
  /** `facts`: what came with the code, for the text of `no.<code>`. `status`: 0 when there was no answer. */
  constructor(code, facts = {}, status = 0) {
    super(code);
    this.code = code;
    this.facts = facts;
    this.retry = Boolean(facts.retry);
    this.status = status;
  }
}

/** One request. `key`: of the press of a button, so that its second arrival does nothing. Returns the parsed body; throws ApiRefusal and nothing else. */
export async function call(method, path, body, { token, key, patience = PATIENCE } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  if (token) headers.authorization = `Bearer ${token}`;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), patience);
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method, headers, signal: stop.signal, credentials: token ? "omit" : "same-origin", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch {
    throw new ApiRefusal("offline");
  } finally {
    clearTimeout(timer);
  }
  const data = parsed(text);
  if (answer.ok) return data;
  const no = data && data.no;
  throw new ApiRefusal(no?.code || "unavailable", no || {}, answer.status);
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** Staff doors: the session is an HttpOnly cookie, so there is nothing to carry. */
export const staff = {
  get: (path) => call("GET", path),
  post: (path, body = {}, key) => call("POST", path, body, { key }),
};

/** The viewer: a bearer token kept on this device, made as a guest's, exchanged when the person says who they are. */
class Viewer extends Listeners {
  constructor() {
    super();
    this.held = null; // {token, expires (epoch ms), you: {sub, name, known}}
    this.going = null;
    this.#held(keep.get(SLOT));
    // Who logs in or out on another page of this shop does so here too; each page would else write its own person back at its next refresh.
    globalThis.addEventListener?.("storage", (event) => {
      if (event.key !== SLOT) return;
      this.#held(event.newValue);
      this.tell();
    });
  }

  #held(text) {
    this.going = null;
    try {
      this.held = JSON.parse(text || "null");
    } catch {
      this.held = null;
    }
  }

  get you() {
    return this.held?.you || null;
  }

  get known() {
    return Boolean(this.held?.you?.known);
  }

  /** A token good for a while yet: the held one, a refreshed one, or a new guest's. `fresh` asks for another in any case. */
  async token(fresh = false) {
    const rest = this.held ? this.held.expires - Date.now() : -1;
    if (!fresh && rest > EARLY) return this.held.token;
    if (!this.going) {
      const mine = this.#renew(rest).finally(() => {
        if (this.going === mine) this.going = null;
      });
      this.going = mine;
    }
    return this.going;
  }

  /** What comes after somebody has logged in or out, here or on another page, is not theirs: it is asked for anew. */
  async #renew(rest) {
    const was = this.held;
    let answer = null;
    if (was) {
      try {
        answer = await call("POST", "/v1/token/refresh", {}, { token: was.token });
      } catch (refusal) {
        if (refusal.status !== 401 && refusal.status !== 403 && this.held === was) {
          if (rest > 0) return was.token; // not reached: the old one still holds
          throw refusal;
        }
      }
    }
    if (!answer && this.held === was) {
      const name = was?.you?.name;
      answer = await call("POST", "/v1/guest", name && !this.known ? { name } : {});
    }
    return this.held === was ? this.#take(answer) : this.token();
  }

  #take(answer) {
    this.going = null;
    this.held = answer;
    keep.set(SLOT, JSON.stringify(answer));
    this.tell();
    return answer.token;
  }

  /** Sends the code to a phone. Answers {sent, demo_code?}. */
  phoneCode(phone) {
    return this.post("/v1/login/phone/code", { phone });
  }

  async phone(phone, code, name) {
    return this.#take(await this.post("/v1/login/phone", name ? { phone, code, name } : { phone, code }));
  }

  async wechat(code, name) {
    return this.#take(await this.post("/v1/login/wechat", name ? { code, name } : { code }));
  }

  /** Forgets who this is; the next request is a new guest's. */
  leave() {
    this.going = null;
    this.held = null;
    keep.set(SLOT, null);
    this.tell();
  }

  get(path) {
    return this.#ask("GET", path);
  }

  post(path, body = {}) {
    return this.#ask("POST", path, body);
  }

  /** Once more with another token when this one was refused as expired. */
  async #ask(method, path, body) {
    try {
      return await this.#as(await this.token(), method, path, body);
    } catch (refusal) {
      if (refusal.code !== "expired" && refusal.code !== "unauthorised") throw refusal;
      return this.#as(await this.token(true), method, path, body);
    }
  }

  /** An answer that comes after somebody else has taken this page over is not for them. */
  async #as(token, method, path, body) {
    const who = this.you?.sub;
    const answer = await call(method, path, body, { token });
    if (this.you?.sub !== who) throw new ApiRefusal("offline");
    return answer;
  }
}

export const viewer = new Viewer();
