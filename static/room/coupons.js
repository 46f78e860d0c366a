// What a coupon says: how much, on what, for whom, until when. Takes the card's terms and a held coupon alike.
import { html, useEffect, useState } from "../shared/dom.js";
import { t, lang, pick, money, date } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";

const HOUR = 3600;

/** The big figure: ¥5, or 8 折 / 20%. */
export const worth = (terms) => (terms.percent ? t("coupon.percent", { n: lang() === "zh" ? (100 - terms.percent) / 10 : terms.percent }) : money(terms.off));

/** In one line of a choice or a heading. */
export const inShort = (terms) => (terms.percent ? t("coupon.percent.most", { worth: worth(terms), off: terms.off }) : t("coupon.off", terms));

/** Every condition there is, the threshold first. */
export function conditions(terms) {
  const said = [terms.threshold > 0 ? t("coupon.threshold", terms) : t("coupon.any")];
  if (terms.percent) said.unshift(t("coupon.most", terms));
  if (terms.scope) said.push(t("coupon.scope", { name: pick(terms.scope) }));
  if (terms.audience === "new") said.push(t("coupon.new"));
  if (terms.watch) said.push(t("coupon.watch", { n: terms.watch }));
  if (terms.valid_until) said.push(t("coupon.until", { date: date(terms.valid_until) }));
  else if (terms.valid_seconds >= HOUR) said.push(t("coupon.hours", { n: Math.round((terms.valid_seconds / HOUR) * 10) / 10 }));
  else if (terms.valid_seconds) said.push(t("coupon.minutes", { n: Math.round(terms.valid_seconds / 60) }));
  return said.join(" · ");
}

const asItIs = ({ coupon, discount }) => ({ best: coupon, usable: coupon ? [{ id: coupon, off: discount, gain: discount }] : [], others: [] });

/** What may be put on this order, best first, as the server counts it: {best, usable, others}; null until it is known.
 * What cannot be asked leaves the order as it is. */
export function useChoice(shop, order) {
  const [choice, set] = useState(null);
  const hand = [...shop.coupons.values()].map((one) => one.id + one.state).join();
  useEffect(() => {
    let wanted = true;
    viewer.get(`/v1/me/orders/${encodeURIComponent(order.no)}/coupons`).then((found) => wanted && set(found), () => wanted && set(asItIs(order)));
    return () => {
      wanted = false;
    };
  }, [order.no, order.version, hand]);
  return choice;
}

/** Which coupon goes on the order. `value`: an id, or null for none. */
export function CouponChoice({ choice, value, onChoose, disabled }) {
  const others = choice?.others || [];
  return html`<label class="checkout-coupon"><span>${t("order.coupon")}</span>
    ${choice?.usable.length ? html`<select class="input" disabled=${disabled} onChange=${(event) => onChoose(event.target.value === "" ? null : Number(event.target.value))}>
      ${choice.usable.map((one) => html`<option key=${one.id} value=${one.id} selected=${one.id === value}>${t("order.coupon.gain", { gain: one.gain, name: inShort(one) })}</option>`)}<option value="" selected=${value === null}>${t("order.coupon.none")}</option></select>`
      : html`<span class="muted small">${t("order.coupon.no")}</span>`}</label>
  ${others.length > 0 && html`<details class="small muted"><summary>${t("order.coupon.others", { n: others.length })}</summary>
    <ul>${others.map((one) => html`<li key=${one.id}>${inShort(one)}：${t(`coupon.why.${one.why}`)}</li>`)}</ul></details>`}`;
}
