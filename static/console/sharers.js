// Who brought people to this room; and the guide's own link to it.
import { html, usePoll } from "/static/shared/dom.js";
import { t, number, money, said } from "/static/shared/i18n.js";
import { refused } from "/static/shared/toast.js";
import { doors, list } from "/static/login/session.js";
import { copy } from "/static/hq/links.js";

const EVERY = 5_000; // ms; two sums over one room

export function Sharers({ studio }) {
  const room = encodeURIComponent(studio.id);
  const { data, error } = usePoll(() => doors.get(`/v1/rooms/${room}/sharers`), [room], EVERY);
  const mine = async () => {
    try {
      await copy(location.origin + (await doors.post(`/v1/rooms/${room}/share/staff`)).path);
    } catch (refusal) {
      refused(refusal);
    }
  };
  const rows = list(data, "sharers");
  return html`<div class="sharers"><div class="row between"><h3>${t("console.sharers")}</h3><button type="button" class="btn btn-sm" onClick=${mine}>${t("console.my_link")}</button></div>
    ${error && !data ? html`<p class="small muted" role="alert">${said(error)}</p>`
      : !rows.length ? html`<p class="small muted">${t("console.sharers_none")}</p>`
      : html`<table class="table by-offer"><thead><tr><th>${t("console.sharer")}</th><th class="right">${t("console.sharer_people")}</th><th class="right">${t("console.sharer_orders")}</th></tr></thead>
        <tbody>${rows.map((one) => html`<tr key=${one.who}><td class="ellipsis">${one.name || one.who}</td><td class="right num">${number(one.people)}</td><td class="right num">${number(one.orders)} · ${money(one.fen)}</td></tr>`)}</tbody></table>`}</div>`;
}
