// Cards over the video: the pinned item, the coupon that just dropped, the group buy and its bar.
import { html, cls } from "../shared/dom.js";
import { t, pick } from "../shared/i18n.js";
import { Bar, Countdown, Picture, Price } from "../shared/parts.js";
import { Start } from "./sale.js";
import { conditions, worth } from "./coupons.js";

const CLAIMED = new Set(["coupon", "packet"]); // one tap takes it: nothing to choose, nothing to pay

/** The one button of an offer: what it says and whether it can be pressed. */
export function act(shop, { view, units, team, open, soon, state }) {
  const tap = shop.taps.of(view.id);
  if (shop.taps.busy(view.id)) return { text: t(CLAIMED.has(view.kind) ? "offer.claiming" : "buy.sending"), busy: true };
  if (view.kind === "coupon") {
    if (tap?.state === "done" || shop.couponsOf(view.id) >= view.per_person) return { text: t("offer.claimed"), off: true };
    if (!open) return { text: t("offer.ended"), off: true };
    return units > 0 ? { text: t("offer.claim") } : { text: t("offer.gone"), off: true };
  }
  if (view.kind === "packet") return shop.packets.act({ view, units, open });
  if (!open) return { text: t(team && team.state !== "filling" ? `group.${team.state}` : state === "STOPPED" ? "sale.stopped" : "offer.ended"), off: true };
  if (soon) return { text: t("sale.soon"), off: true };
  const place = shop.waits.state(view.id);
  if (place === "yours") return { text: t("wait.pay"), opens: ["order", { no: shop.waits.of(view.id).order }] };
  if (place === "waiting") return { text: t("wait.number.short", { n: shop.waits.number(shop.waits.of(view.id)) }), opens: ["wait", { id: view.id }] };
  if (units <= 0 && shop.waits.line(view.id)) return { text: t("wait.enter"), opens: ["wait", { id: view.id }] };
  if (units <= 0 || (team && team.paid + team.held >= team.size)) return { text: t(view.unpaid && units <= 0 ? "offer.all_taken.short" : "offer.sold_out"), off: true };
  return { text: t(view.team ? "team.open.short" : view.kind === "group" ? "offer.join" : "offer.buy") };
}

export function ActButton({ shop, offer, kind = "btn-primary btn-sm" }) {
  const { text, busy, off, opens } = act(shop, offer);
  const press = () => {
    if (busy && !CLAIMED.has(offer.view.kind)) shop.open("buy", { id: offer.view.id });
    else if (opens) shop.identified(() => shop.open(...opens));
    else if (CLAIMED.has(offer.view.kind)) shop.identified(() => shop.taps.claim(offer.view));
    else shop.identified(() => shop.open("buy", { id: offer.view.id }));
  };
  return html`<button type="button" class=${cls("btn", off ? "btn-off" : kind, "btn-sm")} disabled=${off || (busy && CLAIMED.has(offer.view.kind))} aria-busy=${busy} onClick=${press}
    aria-label=${`${text} ${pick(offer.view.name)}`}>${busy && html`<span class="spin" aria-hidden="true"></span>`}${text}</button>`;
}

export function Left({ shop, offer }) {
  const waiting = shop.waits.line(offer.view.id)?.waiting || 0;
  if (!offer.open) return html`<span class="chip">${t(offer.state === "STOPPED" ? "sale.stopped" : "offer.ended")}</span>`;
  if (offer.soon) return html`<${Start} shop=${shop} offer=${offer} />`;
  if (offer.units <= 0) return html`<span class=${cls("chip", !offer.view.unpaid && "chip-bad")}>${t(offer.view.unpaid ? "offer.all_taken" : "offer.sold_out")}</span>${waiting > 0 && html` <span class="small num wait-length">${t("wait.length", { n: waiting })}</span>`}`;
  const few = offer.units <= Math.max(3, offer.view.total * 0.1);
  return html`<span class=${cls("left num", few && "left-few")}>${t("offer.left", { n: offer.units })}</span>`;
}

export function PinnedCard({ shop }) {
  const offer = shop.room.pin === null ? null : shop.offer(shop.room.pin);
  if (!offer || !offer.open || CLAIMED.has(offer.view.kind)) return null; // what is over is not being shown any more
  const { view } = offer;
  return html`<section class="pinned" aria-label=${`${t("room.pinned")} ${pick(view.name)}`} key=${view.id}>
    <${Picture} src=${view.picture} name=${pick(view.name)} class="pinned-picture" />
    <div class="grow">
      <p class="pinned-name"><span class="pinned-mark">${t("room.pinned")}</span>${pick(view.name)}</p>
      <p class="pinned-facts"><${Price} fen=${offer.team?.fen ?? view.fen} was=${view.list_fen} /><${Left} shop=${shop} offer=${offer} />${view.closes && offer.open && !offer.soon && offer.units > 0 && html`<span class="left"><${Countdown} until=${view.closes} skew=${shop.live.skew} /></span>`}</p>
    </div>
    <${ActButton} shop=${shop} offer=${offer} />
  </section>`;
}

/** The newest open coupon, until the person holds all they may. */
export function CouponCard({ shop }) {
  const offer = shop.offers().find((one) => one.view.kind === "coupon" && one.open && one.units > 0 && shop.couponsOf(one.view.id) < one.view.per_person);
  if (!offer) return null;
  const { view, units } = offer;
  return html`<section class="coupon" key=${view.id} aria-label=${t("offer.kind.coupon")}>
    <div class="coupon-off num">${worth(view.coupon)}</div>
    <div class="coupon-text"><p>${conditions(view.coupon)}</p>
      <p class="coupon-facts">${view.closes && html`<${Countdown} until=${view.closes} skew=${shop.live.skew} />`}<span class="num">${t("offer.left", { n: units })}</span></p></div>
    <${ActButton} shop=${shop} offer=${offer} kind="btn-coupon" />
  </section>`;
}

export function groupWords(team) {
  if (team.state !== "filling") return t(`group.${team.state}`);
  if (team.next) return t("group.next", { n: Math.max(1, team.next.seats - team.paid), fen: team.next.fen });
  return t("group.last");
}

export function GroupBar({ view, team }) {
  const steps = (view.tiers || []).map((one) => one.seats).filter((n) => n > 0 && n < team.size);
  return html`<div class="group-bar">
    <${Bar} size=${team.size} solid=${team.paid} light=${team.held} mark=${team.minimum} steps=${steps} label=${t("group.bar", team)} />
    <p class="group-counts num"><span>${t("group.seats", team)}</span>${team.held > 0 && html`<span class="group-held">${t("group.held", { n: team.held })}</span>`}
      <span class="group-min">${team.paid >= team.minimum ? t("group.reached") : t("group.minimum", { n: team.minimum })}</span></p>
  </div>`;
}

/** The group buy that is open, or the last one while its result is news. */
export function GroupCard({ shop }) {
  const groups = shop.offers().filter((one) => one.view.kind === "group" && one.team);
  const offer = groups.find((one) => one.open) || groups.find((one) => one.team.state === "closing");
  if (!offer) return null;
  const { view, team } = offer;
  return html`<section class="group" key=${view.id} aria-label=${t("offer.kind.group")}>
    <div class="row between"><p class="group-name"><span class="chip chip-accent">${t("offer.kind.group")}</span><span>${pick(view.name)}</span></p>
      <span class="group-price"><${Price} fen=${team.fen} was=${view.list_fen} /></span></div>
    ${view.leader && html`<p class="small group-leader">${t("group.leader", { name: view.leader, store: pick(shop.store(Object.keys(offer.left || {})[0] || "").name) })}</p>`}
    <${GroupBar} view=${view} team=${team} />
    <div class="row between"><p class="group-next">${!view.leader || team.state !== "filling" ? groupWords(team) : t("group.cut_off")}${view.closes && offer.open && html` · <${Countdown} until=${view.closes} skew=${shop.live.skew} />`}</p><${ActButton} shop=${shop} offer=${offer} /></div>
  </section>`;
}
