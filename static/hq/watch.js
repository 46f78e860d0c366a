// The audit that never stops, as the worker's last looks left it: sums of every room, how far they are sealed, and what ever drifted.
import { html, cls, usePoll } from "/static/shared/dom.js";
import { t, has, pick, said, date, number } from "/static/shared/i18n.js";
import { Spinner } from "/static/shared/parts.js";
import { doors } from "/static/login/session.js";
import { Stuck } from "/static/login/frame.js";

const EVERY = 5000; // ms; the worker looks as often
const TERMS = ["total", "left", "in_flight", "held", "sold"];

function Sums({ offers }) {
  if (!offers.length) return html`<p class="small muted">${t("hq.watch_no_offers")}</p>`;
  return html`<div class="scroll"><table class="table"><thead><tr><th>${t("hq.offer")}</th><th>${t("hq.place")}</th>${TERMS.map((term) => html`<th key=${term} class="right">${t(`hq.term.${term}`)}</th>`)}<th class="right" title=${t("hq.sealed_hint")}>${t("hq.sealed")}</th></tr></thead>
    <tbody>${offers.map((row) => html`<tr key=${`${row.offer}${row.location}`} class=${cls(row.phase === "ended" && !row.faults.length && "is-off")}><td class="num">${row.offer}</td><td>${row.location}</td>${TERMS.map((term) => html`<td key=${term} class="right num">${row[term] === null ? "–" : number(row[term])}</td>`)}<td class="right num">${number(row.sealed)} / ${number(row.move_no)}</td></tr>`)}</tbody></table></div>`;
}

function Look({ look, name, children }) {
  return html`<details class="card" open=${!look.balanced}><summary class="row between"><b class="ellipsis">${name}</b>
    <span class="small muted">${look.at === null ? t("hq.watch_never") : t("hq.watch_at", { at: look.at, n: look.millis })}</span>
    <span class=${cls("chip nowrap", look.balanced ? "chip-good" : "chip-bad")}>${t(look.balanced ? "hq.watch_good" : "hq.watch_bad")}</span></summary>${children}</details>`;
}

function Drifts({ rows, open }) {
  const state = (row) => (row.healed ? t("hq.drift_healed", { at: row.healed }) : t(row.lasts ? "hq.drift_open" : "hq.drift_once"));
  return html`<div class="section-head"><h3>${t("hq.drifts")}</h3>${open > 0 && html`<span class="chip chip-bad">${t("hq.drifts_open", { n: number(open) })}</span>`}</div>
    ${rows.length === 0 ? html`<p class="card small muted">${t("hq.drifts_none")}</p>`
      : html`<div class="card scroll"><table class="table"><thead><tr><th>${t("hq.drift_at")}</th><th>${t("hq.room")}</th><th>${t("hq.offer")}</th><th>${t("hq.place")}</th><th>${t("hq.fault")}</th><th>${t("hq.drift_state")}</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${`${row.at}${row.room}${row.offer}${row.place}${row.what}`}><td class="nowrap num">${date(row.at)}</td><td>${row.room === "*" ? t("hq.watch_stock") : row.room}</td><td class="num">${row.offer ?? "–"}</td><td>${row.place ?? "–"}</td><td>${t(has(`hq.drift.${row.what}`) ? `hq.drift.${row.what}` : "hq.drift.other")}</td><td class=${cls("nowrap", row.lasts && !row.healed && "is-none")}>${state(row)}</td></tr>`)}</tbody></table></div>`}`;
}

export function Watch() {
  const { data, error, again } = usePoll(() => doors.get("/v1/audit/watch"), [], EVERY);
  if (error && !data) return html`<${Stuck} text=${said(error)} again=${again} />`;
  if (!data) return html`<${Spinner} label=${t("hq.auditing")} />`;
  return html`<section aria-labelledby="watch">
    <div class="section-head"><h2 id="watch">${t("hq.watch")}</h2></div>
    <p class="small muted">${t("hq.watch_lead")}</p>
    ${error && html`<p class="note note-warn" role="status">${said(error)}</p>`}
    ${data.rooms.length === 0 && html`<p class="card small muted">${t("hq.watch_none")}</p>`}
    ${data.rooms.map((room) => html`<${Look} key=${room.room} look=${room} name=${pick(room.title) || room.room}><${Sums} offers=${room.offers} /><//>`)}
    ${data.stock && html`<${Look} look=${data.stock} name=${t("hq.watch_stock")}>${data.stock.faults.map((row) => html`<p key=${`${row.sku_id}${row.location}`} class="small num">${t("hq.sku")} ${row.sku_id}, ${row.location}: ${t("hq.allotted")} ${number(row.allotted)}, ${t("hq.should_be")} ${number(row.wanted)}</p>`)}<//>`}
    <${Drifts} rows=${data.drifts} open=${data.open} />
  </section>`;
}
