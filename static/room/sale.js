// A flash sale made for later: when it starts, its countdown, and the moment it can be bought.
import { html } from "../shared/dom.js";
import { t, pick, date } from "../shared/i18n.js";
import { Countdown, Picture, Price } from "../shared/parts.js";
import { ActButton, Left } from "./cards.js";

/** What stands where the time left stands once it runs: the start, then the countdown to it. */
export function Start({ shop, offer }) {
  const { view, state } = offer;
  if (state === "SCHEDULED") return html`<span class="left sale-start">${t("sale.starts_at", { at: view.opens })}</span>`;
  return html`<span class="left left-few sale-start">${t("sale.starts_in")} <${Countdown} until=${view.opens} skew=${shop.live.skew} /></span>`;
}

/** The sale whose countdown runs, and while it lasts then; what is pinned has its card already. */
export function SaleCard({ shop }) {
  const mine = shop.offers().filter((one) => one.view.countdown > 0 && one.view.id !== shop.room.pin);
  const offer = mine.filter((one) => one.state === "COUNTDOWN").sort((a, b) => a.view.opens - b.view.opens)[0] || mine.find((one) => one.state === "RUNNING");
  if (!offer) return null;
  const { view } = offer;
  return html`<section class="pinned sale-next" aria-label=${`${t("offer.kind.sale")} ${pick(view.name)}`} key=${view.id}>
    <${Picture} src=${view.picture} name=${pick(view.name)} class="pinned-picture" />
    <div class="grow">
      <p class="pinned-name">${pick(view.name)}</p>
      <p class="pinned-facts"><${Price} fen=${view.fen} was=${view.list_fen} /><${Left} shop=${shop} offer=${offer} />${!offer.soon && view.closes && html`<span class="left"><${Countdown} until=${view.closes} skew=${shop.live.skew} /></span>`}</p>
    </div>
    <${ActButton} shop=${shop} offer=${offer} />
  </section>`;
}

/** What the room's news says of a sale; "" when it is no news of one. */
export function saleNews(type, body, view) {
  const facts = { name: pick(view?.name), fen: body.fen };
  if (type === "offer.scheduled") return t("sale.news.scheduled", { ...facts, at: date(body.opens) });
  if (type === "sale.started") return t("sale.news.started", facts);
  return type === "offer.price" && view?.kind === "sale" ? t("sale.news.price", facts) : "";
}
