// Do the books balance? The server adds up Redis and PostgreSQL; this page shows the answer and, if it is no, every sum that is off.
import { html, cls, useLoad } from "/static/shared/dom.js";
import { t, said, number } from "/static/shared/i18n.js";
import { Spinner } from "/static/shared/parts.js";
import { doors } from "/static/login/session.js";
import { Stuck } from "/static/login/frame.js";

const TERMS = ["total", "left", "in_flight", "held", "sold", "taken"];

export function Books() {
  const { data, error, busy, again } = useLoad(() => doors.get("/v1/audit"), []);
  if (error) return html`<${Stuck} text=${said(error)} again=${again} />`;
  if (!data) return html`<${Spinner} label=${t("hq.auditing")} />`;
  const rooms = data.rooms || [];
  const rows = rooms.flatMap((room) => (room.offers || []).map((terms) => ({ ...terms, room: room.room })));
  const wrong = rows.filter((row) => row.faults?.length);
  const stock = data.stock || [];
  const moving = rooms.filter((room) => room.settled === false);
  return html`<section aria-labelledby="books">
    <div class="section-head"><h2 id="books">${t("hq.audit")}</h2><button type="button" class="btn" disabled=${busy} onClick=${again}>${t("hq.audit_again")}</button></div>
    <div class=${cls("card verdict", data.balanced ? "is-good" : wrong.length || stock.length ? "is-bad" : "is-moving")} role="status"><span class="verdict-sign" aria-hidden="true">${data.balanced ? "✓" : wrong.length || stock.length ? "!" : "…"}</span>
      <div><b>${t(data.balanced ? "hq.balanced" : wrong.length || stock.length ? "hq.not_balanced" : "hq.moving")}</b>
        <p class="small">${data.balanced ? t("hq.balanced_text", { n: number(rows.length) }) : wrong.length || stock.length ? t("hq.not_balanced_text", { n: number(wrong.length + stock.length) }) : t("hq.moving_text", { rooms: moving.map((room) => room.room).join(", ") })}</p></div></div>
    ${wrong.length > 0 && html`<div class="card scroll"><table class="table"><thead><tr><th>${t("hq.room")}</th><th>${t("hq.offer")}</th><th>${t("hq.place")}</th>${TERMS.map((term) => html`<th key=${term} class="right">${t(`hq.term.${term}`)}</th>`)}<th>${t("hq.fault")}</th></tr></thead>
      <tbody>${wrong.map((row) => html`<tr key=${`${row.offer}${row.location}`}><td>${row.room}</td><td class="num">${row.offer}</td><td>${row.location}</td>${TERMS.map((term) => html`<td key=${term} class="right num">${row[term] ?? "–"}</td>`)}<td class="mono small">${row.faults.join("; ")}</td></tr>`)}</tbody></table></div>`}
    ${stock.length > 0 && html`<div class="card scroll"><table class="table"><thead><tr><th>${t("hq.sku")}</th><th>${t("hq.place")}</th><th class="right">${t("hq.allotted")}</th><th class="right">${t("hq.should_be")}</th></tr></thead>
      <tbody>${stock.map((row) => html`<tr key=${`${row.sku_id}${row.location}`}><td class="num">${row.sku_id}</td><td>${row.location}</td><td class="right num">${row.allotted}</td><td class="right num">${row.wanted}</td></tr>`)}</tbody></table></div>`}
    ${rows.length > 0 && html`<details class="card scroll"><summary>${t("hq.all_sums", { n: rows.length })}</summary><table class="table"><thead><tr><th>${t("hq.room")}</th><th>${t("hq.offer")}</th><th>${t("hq.place")}</th>${TERMS.map((term) => html`<th key=${term} class="right">${t(`hq.term.${term}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${`${row.offer}${row.location}`}><td>${row.room}</td><td class="num">${row.offer}</td><td>${row.location}</td>${TERMS.map((term) => html`<td key=${term} class="right num">${row[term] ?? "–"}</td>`)}</tr>`)}</tbody></table></details>`}
  </section>`;
}
