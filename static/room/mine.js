// Mine: orders, coupons, points, the rooms I follow, who I am.
import { html, useEffect, useState, cls } from "../shared/dom.js";
import { t, pick, money, date, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Empty, Picture, Spinner } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { conditions, worth } from "./coupons.js";
import { StateChip } from "./order.js";
import { Followed } from "./follow.js";
import { Points } from "./points.js";

const TABS = { orders: Orders, coupons: Coupons, points: Points, follows: Followed };

export function MineSheet({ shop, tab = "orders", onClose }) {
  const [shown, show] = useState(tab);
  const [failed, fail] = useState(null);
  const fetch = () => {
    const who = viewer.you?.sub;
    return shop.fetchMine().then(() => fail(null), (refusal) => viewer.you?.sub === who && fail(refusal));
  };
  useEffect(() => {
    fetch();
  }, [viewer.you?.sub]);
  return html`<${Sheet} title=${t("me.title")} onClose=${onClose} cls="sheet-tall">
    <div class="stack">
      <${Who} shop=${shop} />
      <div class="seg" role="tablist">${Object.keys(TABS).map((one) => html`<button key=${one} type="button" role="tab" aria-selected=${shown === one} aria-label=${t(`${one}.title`)} class=${cls(shown === one && "seg-on")} onClick=${() => show(one)}>${t(`me.tab.${one}`)}</button>`)}</div>
      ${failed && html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${fetch}>${t("retry")}<//></p>`}
      ${viewer.known && !shop.fetched ? !failed && html`<${Spinner} />` : html`<${TABS[shown]} key=${shown} shop=${shop} />`}
    </div>
  <//>`;
}

function Who({ shop }) {
  const out = () => {
    viewer.leave();
    shop.note(t("me.out.done"));
  };
  return html`<div class="row between who"><span><b>${viewer.you?.name || t("me.guest")}</b>${viewer.known && shop.packets.points > 0 && html` <span class="chip num">${t("packet.points", { n: shop.packets.points })}</span>`}</span>
    ${viewer.known ? html`<button type="button" class="btn btn-quiet btn-sm" onClick=${out}>${t("me.out")}</button>`
      : html`<button type="button" class="btn btn-sm btn-primary" onClick=${() => shop.open("identify", {})}>${t("me.verify")}</button>`}</div>`;
}

function Orders({ shop }) {
  const orders = [...shop.orders.values()];
  if (!orders.length) return html`<${Empty} title=${t("orders.empty")} text=${t("orders.empty.text")} />`;
  return html`<ul class="orders">${orders.map((one) => {
    const line = one.lines[0];
    return html`<li key=${one.no}><button type="button" class="order-row" onClick=${() => shop.open("order", { no: one.no })}>
      <${Picture} src=${line?.picture} name=${pick(line?.name)} />
      <span class="grow"><b class="order-name">${pick(line?.name)}</b><span class="small muted">${pick(one.store.name)} · ${date(one.created)}</span>
        ${one.pickup?.code && one.pickup.state === "READY" && html`<span class="order-code mono">${one.pickup.code}</span>`}</span>
      <span class="order-end"><${StateChip} state=${one.state} /><b class="num">${money(one.payable)}</b></span>
    </button></li>`;
  })}</ul>`;
}

function Coupons({ shop }) {
  const coupons = [...shop.coupons.values()];
  if (!coupons.length) return html`<${Empty} title=${t("coupons.empty")} text=${t("coupons.empty.text")} />`;
  return html`<ul class="stack">${coupons.map((one) => html`<li key=${one.id} class=${cls("ticket", one.state !== "CLAIMED" && "ticket-done")}>
    <b class="ticket-off num">${worth(one)}</b><span class="grow"><b>${conditions(one)}</b><span class="small muted">${one.void ? t("coupon.void.why", { why: one.void }) : date(one.created)}</span></span><span class="chip">${t(`coupon.${one.state}`)}</span></li>`)}</ul>`;
}
