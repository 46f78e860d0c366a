// The run sheet of a room as this console holds it: asked for every two seconds and at every event, so that two hosts see the same.
import { doors } from "/static/login/session.js";
import { newKey } from "/static/sdk/tap.js";

const SETTLE = 1_500; // ms after the next row became another one in which a key press was surely meant for the one before
const NO_ANSWER = ["offline", "unavailable"];

export class RunSheet {
  /** `path`: /v1/rooms/{id}; `draw`: something changed. */
  constructor(path, draw) {
    this.path = `${path}/run-sheet`;
    this.draw = draw;
    this.sheet = null;
    this.error = null;
    this.skew = 0; // ms: server − here
    this.turned = 0; // when `next` became another row
    this.keys = new Map(); // row and version -> key of the press: pressed again after no answer, it is the same press
  }

  async ask() {
    try {
      const answer = await doors.get(`${this.path}?have=${this.sheet?.tag ?? ""}`);
      this.error = null;
      if (!answer.same) this.#take(answer);
    } catch (refusal) {
      this.error = refusal;
    }
    this.draw();
  }

  #take(sheet) {
    const older = this.sheet && Number.parseInt(sheet.tag, 10) < Number.parseInt(this.sheet.tag, 10);
    if (older) return; // an answer that was overtaken
    if (this.sheet && this.sheet.next !== sheet.next) this.turned = Date.now();
    this.sheet = sheet;
    this.skew = sheet.now - Date.now();
    this.draw();
  }

  async #post(path, body) {
    try {
      this.#take(await doors.post(this.path + path, body));
    } catch (refusal) {
      this.ask(); // whatever was refused, this page may be behind
      throw refusal;
    }
  }

  get rows() {
    return this.sheet?.rows || [];
  }

  get next() {
    return this.rows.find((row) => row.id === this.sheet.next) || null;
  }

  /** Whether the next row has just become another one. */
  get settling() {
    return Date.now() - this.turned < SETTLE;
  }

  /** Seconds the show is behind its plan (early: negative): by what should have started, else by what started last. Null: nothing says. */
  behind(now) {
    const { began, late } = this.sheet || {};
    const due = began && this.next ? Math.round((now + this.skew - began) / 1000) - this.next.minute * 60 : 0;
    return due > 0 ? due : (late ?? null);
  }

  async start(row) {
    const name = `${row.id}.${row.version}`;
    if (!this.keys.has(name)) this.keys.set(name, newKey());
    const body = { version: row.version, key: this.keys.get(name) };
    try {
      await this.#post(`/rows/${row.id}/start`, body);
    } catch (refusal) {
      if (!NO_ANSWER.includes(refusal.code)) throw refusal;
      await this.#post(`/rows/${row.id}/start`, body);
    }
  }

  skip = (row) => this.#post(`/rows/${row.id}/skip`, { version: row.version });
  remove = (row) => this.#post(`/rows/${row.id}/delete`, { version: row.version });
  duplicate = (row) => this.#post(`/rows/${row.id}/duplicate`, {});
  move = (row, before) => this.#post(`/rows/${row.id}/move`, { version: row.version, before });
  copy = (room) => this.#post("/copy", { room });
  bring = (rows) => this.#post("/import", { rows });
  /** A new row, or `row` anew. */
  save = (row, body) => (row ? this.#post(`/rows/${row.id}`, { ...body, version: row.version }) : this.#post("/rows", body));
}
