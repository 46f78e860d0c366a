// The pick list: on paper only. First what to fetch in all, then what goes into which bag.
import { html } from "/static/shared/dom.js";
import { t, pick, date } from "/static/shared/i18n.js";
import { picks } from "./desk.js";

export function PickList({ tickets, store }) {
  return html`<div class="paper" aria-hidden="true">
    <header><h1>${t("store.pick_list")}</h1><p>${store} · ${date(Date.now())} · ${t("store.tickets", { n: tickets.length })}</p></header>
    <h2>${t("store.to_fetch")}</h2>
    <table>
      <thead><tr><th>${t("store.goods")}</th><th>${t("store.sku")}</th><th class="n">${t("store.qty")}</th><th class="tick">✓</th></tr></thead>
      <tbody>${picks(tickets).map((row) => html`<tr key=${row.sku}><td>${pick(row.name)}</td><td>${row.sku}</td><td class="n">${row.qty}</td><td class="tick"></td></tr>`)}</tbody>
    </table>
    <h2>${t("store.to_bag")}</h2>
    <table>
      <thead><tr><th>${t("store.customer")}</th><th>${t("store.order_no")}</th><th>${t("store.goods")}</th><th class="tick">✓</th></tr></thead>
      <tbody>${tickets.map((ticket) => html`<tr key=${ticket.id}><td>${ticket.person_name} ${ticket.phone_tail}</td><td>${ticket.order}</td>
        <td>${ticket.lines.map((line) => html`<div key=${line.sku}>${pick(line.name)} × ${line.qty}</div>`)}</td><td class="tick"></td></tr>`)}</tbody>
    </table>
  </div>`;
}
