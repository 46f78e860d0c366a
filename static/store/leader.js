// A group leader's list: each group, how far it is, and who ordered what (names masked).
import { html, usePoll } from "/static/shared/dom.js";
import { t, pick, money, said, time } from "/static/shared/i18n.js";
import { Bar, Empty, Spinner } from "/static/shared/parts.js";
import { doors, list } from "/static/login/session.js";
import { Stuck } from "/static/login/frame.js";

const EVERY = 5_000; // ms; people stand before the leader, but the queue beside it is what they wait for

export function LeaderGroups() {
  const { data, error, again } = usePoll(() => doors.get("/v1/leader/groups"), [], EVERY);
  const groups = list(data, "groups");
  return html`<section class="leader" aria-labelledby="leader">
    <h2 id="leader">${t("store.leader")}</h2>
    ${error && !data ? html`<${Stuck} text=${said(error)} again=${again} />` : !data ? html`<${Spinner} />`
      : !groups.length ? html`<${Empty} title=${t("store.leader_none")} text=${t("store.leader_none_lead")} />`
      : groups.map((group) => html`<${Group} key=${group.offer} group=${group} />`)}
  </section>`;
}

function Group({ group }) {
  const units = group.orders.reduce((sum, one) => sum + one.qty, 0);
  return html`<article class="card leader-group">
    <div class="row between"><b>${pick(group.orders[0]?.title) || t("store.leader_group", { n: group.offer })} · ${money(group.fen)}</b><span class="chip">${t(`store.leader_state.${group.state}`)}</span></div>
    <${Bar} size=${group.size} solid=${group.paid} light=${group.held} mark=${group.minimum} steps=${[]} label=${t("store.leader_bar", group)} />
    <p class="small muted num">${t("store.leader_bar", group)}${group.closes ? ` · ${t("store.leader_until", { at: time(group.closes) })}` : ""}</p>
    ${group.orders.length > 0 && html`<table class="table"><thead><tr><th>${t("store.leader_who")}</th><th class="right">${t("store.leader_units", { n: units })}</th><th>${t("store.leader_order")}</th></tr></thead>
      <tbody>${group.orders.map((one) => html`<tr key=${one.no}><td>${one.name}</td><td class="right num">× ${one.qty}</td><td>${t(`order.${one.state}`)}</td></tr>`)}</tbody></table>`}
  </article>`;
}
