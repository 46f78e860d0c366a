// The first run: stores, goods, a room. Three steps, each only what it needs; then the doors.
import { html, cls, useState } from "/static/shared/dom.js";
import { t, pick } from "/static/shared/i18n.js";
import { StoreForm } from "./store-form.js";
import { ImportGoods } from "./import.js";
import { RoomForm } from "./room-form.js";
import { RoomLinks } from "./links.js";

const STEPS = ["stores", "goods", "room", "done"];

/** `held`: {stores, skus, rooms}. `again()` reads them anew. */
export function FirstRun({ held, again, onFinish }) {
  const reached = held.rooms.length ? 3 : held.skus.length ? 2 : held.stores.length ? 1 : 0;
  const [step, setStep] = useState(Math.min(reached, 2));
  const [room, setRoom] = useState(held.rooms[0] || null);
  const go = (n) => {
    setStep(n);
    scrollTo({ top: 0 });
  };
  const made = (fresh) => {
    setRoom(fresh);
    again();
    go(3);
  };
  return html`<main class="first">
    <h1>${t("hq.welcome")}</h1>
    <p class="lead">${t("hq.welcome_lead")}</p>
    <ol class="steps">${STEPS.map((name, n) => html`<li key=${name} class=${cls(n === step && "is-here", (n < reached || (n === 3 && step === 3)) && "is-done")}>
      <button type="button" disabled=${n > reached || n === 3} aria-current=${n === step ? "step" : undefined} onClick=${() => go(n)}><span class="steps-n num">${n < reached ? "✓" : n + 1}</span>${t(`hq.step.${name}`)}</button></li>`)}</ol>
    <section class="card first-card">
      ${step === 0 && html`<h2>${t("hq.step_stores")}</h2><p class="lead">${t("hq.step_stores_lead")}</p>
        ${held.stores.length > 0 && html`<ul class="chips">${held.stores.map((store) => html`<li key=${store.code} class="chip chip-good">${pick(store.name)} · ${store.code}</li>`)}</ul>`}
        <${StoreForm} onMade=${again} quiet=${held.stores.length > 0} />
        ${held.stores.length > 0 && html`<${Next} onClick=${() => go(1)} />`}`}
      ${step === 1 && html`<h2>${t("hq.step_goods")}</h2>
        <${ImportGoods} stores=${held.stores} onDone=${again} />
        ${held.skus.length > 0 && html`<${Next} onClick=${() => go(2)} />`}`}
      ${step === 2 && html`<h2>${t("hq.step_room")}</h2><p class="lead">${t("hq.step_room_lead")}</p><${RoomForm} onMade=${made} />`}
      ${step === 3 && room && html`<h2>${t("hq.step_done")}</h2><p class="lead">${t("hq.step_done_lead")}</p><${RoomLinks} room=${room} />
        <div class="row form-foot"><button type="button" class="btn" onClick=${onFinish}>${t("hq.to_overview")}</button></div>`}
    </section>
  </main>`;
}

function Next({ onClick }) {
  return html`<div class="row form-foot next"><button type="button" class="btn btn-primary" onClick=${onClick}>${t("hq.next")}</button></div>`;
}
