// One order: pay before the hold ends, then the pickup code, then perhaps a refund.
import { html, useEffect, useState, useNow, cls } from "../shared/dom.js";
import { t, lang, pick, money, date, countdown, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Field, Picture, Spinner, Svg } from "../shared/parts.js";
import { Sheet, confirm } from "../shared/dialog.js";
import { refused } from "../shared/toast.js";
import { CouponChoice, useChoice } from "./coupons.js";
import { inWechat, wechatPay } from "./pay.js";
import { OrderTeam } from "./team.js";

const LOOK = 3_000; // ms between looks at an order that is being paid; the push usually comes first
const REFUNDABLE = new Set(["PAID", "ALLOCATED", "READY"]);
const TONE = { AWAIT_PAY: "chip-warn", CLOSING: "chip-warn", READY: "chip-good", ALLOCATED: "chip-good", PAID: "chip-good", GROUP_WAIT: "chip-accent", COLLECTED: "chip-good", REFUNDING: "chip-accent" };
const path = (no, verb = "") => `/v1/me/orders/${encodeURIComponent(no)}${verb}`;

export const StateChip = ({ state }) => html`<span class=${cls("chip", TONE[state])}>${t(`order.${state}`)}</span>`;

export function OrderSheet({ shop, no, got, onClose }) {
  const order = shop.orders.get(no);
  const [paying, setPaying] = useState(null); // {cashier} once the cashier was opened
  const waiting = order?.state === "AWAIT_PAY" || order?.state === "CLOSING";
  const [failed, fail] = useState(null);
  const load = () => shop.fetchOrder(no).then(() => fail(null), fail);
  useEffect(() => {
    if (!order) load();
  }, [no, !order]);
  useEffect(() => {
    if (!waiting || !paying) return undefined;
    const timer = setInterval(() => shop.fetchOrder(no).catch(() => {}), LOOK);
    return () => clearInterval(timer);
  }, [no, waiting, Boolean(paying)]);
  if (!order) return html`<${Sheet} title=${t("order.title")} onClose=${onClose}>${failed ? html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${load}>${t("retry")}<//></p>` : html`<${Spinner} />`}<//>`;
  return html`<${Sheet} title=${got && waiting ? t("buy.got") : t("order.title")} onClose=${onClose} foot=${waiting && order.state === "AWAIT_PAY" && html`<${Checkout} shop=${shop} order=${order} paying=${paying} setPaying=${setPaying} />`}>
    <div class="stack">
      <div class="row between"><${StateChip} state=${order.state} />${order.state === "AWAIT_PAY" && html`<${PayIn} shop=${shop} order=${order} />`}</div>
      ${paying && waiting && html`<p class="note" role="status">${t(paying.cashier ? "order.cashier.text" : "order.paying")}</p>`}
      ${order.team && html`<${OrderTeam} shop=${shop} order=${order} />`}
      <${Pickup} order=${order} />
      ${order.refund && html`<p class=${cls("note", order.refund.state === "DONE" && "note-good")}>${t("order.refund.mark")} <b class="num">${money(order.refund.fen)}</b> · ${t(`refund.${order.refund.state}`)}</p>`}
      <${Lines} order=${order} />
      <${Sums} order=${order} />
      <dl class="facts"><dt>${t("order.store")}</dt><dd>${pick(order.store.name)}<br /><span class="muted small">${pick(order.store.address)}</span></dd>
        <dt>${t("order.no")}</dt><dd class="num">${order.no}</dd><dt>${t("order.created")}</dt><dd class="num">${date(order.created)}</dd></dl>
      ${REFUNDABLE.has(order.state) && !order.refund && html`<button type="button" class="btn btn-quiet btn-sm" onClick=${() => shop.open("refund", { no })}>${t("order.refund")}</button>`}
    </div>
  <//>`;
}

function PayIn({ shop, order }) {
  const rest = order.pay_until - (useNow(500) + shop.live.skew);
  if (rest <= 0) return html`<span class="small muted">${t("order.expired")}</span>`;
  return html`<span class="small num pay-in" role="timer">${t("order.pay_in", { left: countdown(rest) })}</span>`;
}

function Checkout({ shop, order, paying, setPaying }) {
  const choice = useChoice(shop, order);
  const [chosen, setCoupon] = useState(undefined); // by the person; until then what the order has, or the best
  const usable = choice?.usable || [];
  const wanted = chosen === undefined ? (order.coupon ?? choice?.best ?? null) : chosen;
  const coupon = usable.some((one) => one.id === wanted) ? wanted : null;
  const off = usable.find((one) => one.id === coupon)?.gain || 0;
  const over = useNow(1000) + shop.live.skew >= order.pay_until;
  const sum = order.fen - off;

  const pay = async () => {
    // The tab must be opened by the tap itself, or the browser takes it for a pop-up.
    const tab = inWechat() ? null : window.open("about:blank", "_blank");
    try {
      const answer = await viewer.post(path(order.no, "/pay"), { coupon });
      shop.keepOrder(answer.order);
      if (inWechat()) {
        const result = await wechatPay(answer.pay);
        if (result === "ok") setPaying({ cashier: null });
        else shop.note(t(result === "cancel" ? "order.pay.cancelled" : "order.pay.failed"), "bad");
        return;
      }
      if (!answer.cashier) {
        tab?.close();
        shop.note(t("order.wechat_only"), "bad");
        return;
      }
      const cashier = `${answer.cashier}?${new URLSearchParams({ lang: lang(), back: location.href.split(/[?#]/)[0] })}`;
      setPaying({ cashier });
      if (tab) {
        tab.opener = null;
        tab.location.replace(cashier);
      }
    } catch (refusal) {
      tab?.close();
      if (refusal.code === "identify") shop.note(t("order.wechat_only"), "bad"); // the provider takes money from its own users only
      else refused(refusal);
      shop.fetchOrder(order.no).catch(() => {});
    }
  };
  const cancel = async () => {
    if (!(await confirm({ title: t("order.cancel"), text: t("order.cancel.ask"), yes: t("order.cancel"), no: t("back"), danger: true }))) return;
    try {
      shop.keepOrder(await viewer.post(path(order.no, "/cancel")));
      shop.note(t("order.cancelled"));
    } catch (refusal) {
      refused(refusal);
      shop.fetchOrder(order.no).catch(() => {});
    }
  };

  return html`<div class="checkout">
    <${CouponChoice} choice=${choice} value=${coupon} onChoose=${setCoupon} disabled=${Boolean(paying)} />
    <div class="row">
      <${Button} kind="btn-quiet" onPress=${cancel}>${t("order.cancel")}<//>
      ${paying?.cashier ? html`<a class="btn btn-primary grow" href=${paying.cashier} target="_blank" rel="noopener">${t("order.cashier")}</a>`
        : html`<${Button} kind="btn-primary grow" first=${true} disabled=${over || !choice} onPress=${pay}>${t("order.pay", { fen: sum })}<//>`}
    </div>
  </div>`;
}

function Pickup({ order }) {
  const { pickup } = order;
  if (!pickup) return null;
  if (pickup.state === "COLLECTED") return html`<p class="note note-good">${t("order.pickup.done")}</p>`;
  if (!pickup.code) return null;
  return html`<section class="pickup" aria-label=${t("order.pickup")}>
    <${Svg} svg=${pickup.qr} class="pickup-qr" label=${t("order.qr", { code: pickup.code })} />
    <p class="pickup-code mono">${pickup.code}</p>
    <p class="small">${t(pickup.state === "READY" ? "order.pickup.text" : "order.pickup.later")}</p>
  </section>`;
}

function Lines({ order }) {
  return html`<ul class="lines" aria-label=${t("order.items")}>${order.lines.map((line) => html`<li class="row">
    <${Picture} src=${line.picture} name=${pick(line.name)} /><span class="grow">${pick(line.name)}<br /><span class="muted small num">${money(line.fen)} ${t("order.qty", { n: line.qty })}</span></span>
    <b class="num">${money(line.fen * line.qty)}</b></li>`)}</ul>`;
}

function Sums({ order }) {
  const before = order.state === "AWAIT_PAY" || order.state === "CLOSING" || order.state === "CANCELLED";
  const row = (key, fen, strong) => html`<div class="row between"><span class=${strong ? "" : "muted"}>${t(key)}</span><span class=${cls("num", strong && "price")}>${money(fen)}</span></div>`;
  return html`<div class="sums">${order.discount > 0 && row("order.sum", order.fen)}${order.discount > 0 && row("order.discount", -order.discount)}
    ${row(before ? "order.payable" : "order.paid", order.payable, true)}${order.refunded > 0 && row("order.refunded", order.refunded)}</div>`;
}

export function RefundSheet({ shop, no, onClose }) {
  const [reason, set] = useState("");
  const send = async () => {
    try {
      shop.keepOrder(await viewer.post(path(no, "/refund"), { reason: reason.trim() || t("order.refund.r1") }));
      shop.note(t("order.refund.sent"), "good");
      onClose();
    } catch (refusal) {
      refused(refusal);
      if (refusal.code !== "offline") shop.fetchOrder(no).catch(() => {});
    }
  };
  return html`<${Sheet} title=${t("order.refund.title")} onClose=${onClose} foot=${html`<${Button} kind="btn-primary btn-block" onPress=${send}>${t("order.refund.send")}<//>`}>
    <div class="stack">
      <div class="row row-wrap">${["r1", "r2", "r3"].map((one) => html`<button type="button" class=${cls("btn btn-sm", reason === t(`order.refund.${one}`) && "btn-chosen")} onClick=${() => set(t(`order.refund.${one}`))}>${t(`order.refund.${one}`)}</button>`)}</div>
      <${Field} label=${t("order.refund.reason")} hint=${t("order.refund.hint")}><textarea maxlength="200" value=${reason} onInput=${(event) => set(event.target.value)}></textarea><//>
    </div>
  <//>`;
}
