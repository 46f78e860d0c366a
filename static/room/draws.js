// Draws: the card while one can be entered, its winners, and a check of them that runs here.
import { html, useEffect, useState, cls } from "../shared/dom.js";
import { t, pick, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Countdown } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { canCheck, proofFault } from "./draw-proof.js";

const PATIENCE = 25; // looks for a socket, so many
const PAUSE = 200; // ms apart
const AGAIN = 5_000; // ms after a look that failed
const SPREAD = 2_000; // ms; a draw that opens or ends is news to the whole room at once

const draws = (shop) => [...shop.live.state].filter(([key]) => key.startsWith("draw:")).map(([, view]) => view).sort((a, b) => b.id - a.id);

/** What the server knows of this person in a draw, and what was just said here, which the server learns in a moment. */
export class Draws {
  constructor(shop) {
    this.shop = shop;
    this.mine = new Map(); // draw -> {entered, place, ticket}
    this.asked = new Set(); // "<draw> <phase>" that was asked for
    this.commitments = new Map(); // draw -> what was published before its end, as this page saw it
  }

  clear() {
    this.mine.clear();
    this.asked.clear();
  }

  of(draw) {
    return this.mine.get(draw) || { entered: false, place: null };
  }

  look(view) {
    if (!this.commitments.has(view.id)) this.commitments.set(view.id, view.commitment);
    const key = `${view.id} ${view.phase}`;
    if (!viewer.known || this.asked.has(key)) return;
    this.asked.add(key);
    setTimeout(() => this.#ask(view, key), Math.random() * SPREAD);
  }

  #ask(view, key) {
    viewer.get(`/v1/me/draws/${view.id}`).then(
      (found) => {
        this.mine.set(view.id, view.phase === "drawn" ? found : { ...found, entered: found.entered || this.of(view.id).entered });
        this.shop.draw();
      },
      () => {
        this.asked.delete(key);
        setTimeout(() => this.look(view), AGAIN);
      },
    );
  }

  /** Whether one follows has changed, and with it what one is in. */
  lookAgain() {
    for (const view of draws(this.shop).filter((one) => one.entry === "follow" && one.phase === "open")) {
      this.mine.delete(view.id);
      this.asked.delete(`${view.id} ${view.phase}`);
      this.look(view);
    }
    this.shop.draw();
  }

  enter(view) {
    return view.entry === "follow" ? this.#press(view) : this.#say(view);
  }

  async #press(view) {
    this.mine.set(view.id, await viewer.post(`/v1/draws/${view.id}/enter`));
    this.shop.follow.now(true);
  }

  async #say(view) {
    for (let n = 0; n < PATIENCE && this.shop.live.status !== "live"; n += 1) await new Promise((done) => setTimeout(done, PAUSE)); // who just said who they are joins anew
    await this.shop.live.say(view.word);
    this.mine.set(view.id, { ...this.of(view.id), entered: true });
    this.shop.draw();
  }
}

/** The draw that can be entered, or else the last one that was drawn. */
export function DrawCard({ shop }) {
  const all = draws(shop);
  const view = all.find((one) => one.phase === "open") || all[0];
  useEffect(() => {
    if (view) shop.draws.look(view);
  }, [view?.id, view?.phase, viewer.you?.sub]);
  if (!view) return null;
  const { entered, place } = shop.draws.of(view.id);
  const closed = view.closes <= shop.live.now();
  const enter = () => shop.identified(() => shop.draws.enter(view).catch((refusal) => shop.note(said(refusal), "bad")));
  return html`<section class="group draw" key=${view.id} aria-label=${t("draw.title")}>
    <div class="row between"><p class="group-name"><span class="chip chip-accent">${t("draw.title")}</span><span>${pick(view.prize)}</span></p><span class="small num">${t("draw.winners", { n: view.winners })}</span></div>
    <div class="row between">
      <p class="group-next">${view.phase === "drawn" ? t(place ? "draw.won" : "draw.done", { n: view.entrants, place: place || 0 }) : closed ? t("draw.closing")
        : html`${t(`draw.by.${view.entry}`, { word: view.word })} · <${Countdown} until=${view.closes} skew=${shop.live.skew} />`}</p>
      ${view.phase === "drawn" || view.entry === "order" || closed ? html`<button type="button" class="btn btn-sm" onClick=${() => shop.open("draw", { id: view.id })}>${t(view.phase === "drawn" ? "draw.result" : "draw.rules")}</button>`
        : html`<${Button} kind=${cls("btn-sm", entered ? "btn-off" : "btn-primary")} disabled=${entered} onPress=${enter}>${t(entered ? "draw.entered" : `draw.enter.${view.entry === "follow" && shop.follow.on ? "followed" : view.entry}`)}<//>`}
    </div>
  </section>`;
}

export function DrawSheet({ shop, id, onClose }) {
  const view = shop.live.state.get(`draw:${id}`);
  const { place, ticket } = shop.draws.of(id);
  if (!view) return html`<${Sheet} title=${t("draw.title")} onClose=${onClose}><p class="muted">${t("draw.gone")}</p><//>`;
  const drawn = view.phase === "drawn";
  return html`<${Sheet} title=${pick(view.prize)} onClose=${onClose}>
    <div class="stack">
      ${drawn && place && html`<p class="packet-got" role="status"><b>${t("draw.won", { place })}</b></p>`}
      ${drawn && (view.won.length ? html`<ol class="lucky">${view.won.map((one) => html`<li key=${one.ticket} class=${cls("row between", one.ticket === ticket && "lucky-first")}><span>${one.name}</span><span class="mono small muted">${one.ticket.slice(0, 8)}</span></li>`)}</ol>` : html`<p class="muted">${t("draw.nobody")}</p>`)}
      ${!drawn && html`<p>${t(`draw.by.${view.entry}`, { word: view.word })}</p>`}
      <p class="small muted">${t("draw.fair")}</p>
      <p class="small mono draw-hash">${view.commitment}</p>
      ${drawn && html`<${Check} shop=${shop} id=${id} />`}
    </div>
  <//>`;
}

/** Works the winners out again from what the server publishes. */
function Check({ shop, id }) {
  const [found, set] = useState(null); // {fault, entrants}
  const [failed, fail] = useState(null);
  if (!canCheck()) return html`<p class="small muted">${t("draw.check.cannot")}</p>`;
  const check = async () => {
    try {
      const proof = await viewer.get(`/v1/draws/${id}/proof`);
      set({ fault: await proofFault(proof, shop.draws.commitments.get(id)), entrants: proof.tickets?.length ?? 0 });
      fail(null);
    } catch (refusal) {
      fail(refusal);
    }
  };
  return html`<div class="stack-tight">
    <${Button} onPress=${check}>${t("draw.check")}<//>
    ${failed && html`<p class="note note-bad" role="alert">${said(failed)}</p>`}
    ${found && html`<p class=${cls("note", found.fault && "note-bad")} role="status">${found.fault ? t(`draw.fault.${found.fault}`) : t("draw.checked", { n: found.entrants })}</p>`}
  </div>`;
}
