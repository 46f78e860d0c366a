// Everything on offer in this room, open ones first.
import { html, cls } from "../shared/dom.js";
import { t, pick } from "../shared/i18n.js";
import { Countdown, Empty, Picture, Price } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { ActButton, GroupBar, Left, groupWords } from "./cards.js";
import { conditions, inShort, worth } from "./coupons.js";

export function Shelf({ shop, onClose }) {
  const offers = shop.offers();
  return html`<${Sheet} title=${t("room.shelf")} onClose=${onClose}>
    ${offers.length ? html`<ul class="shelf">${offers.map((offer) => html`<${Row} key=${offer.view.id} shop=${shop} offer=${offer} />`)}</ul>`
      : html`<${Empty} title=${t("room.shelf.empty")} text=${t("room.shelf.empty.text")} />`}
  <//>`;
}

function Row({ shop, offer }) {
  const { view, team, open } = offer;
  const coupon = view.kind === "coupon";
  const packet = view.kind === "packet";
  return html`<li class=${cls("shelf-row", !open && "shelf-ended")}>
    <div class="row">
      ${coupon ? html`<span class="shelf-coupon num">${worth(view.coupon)}</span>` : packet ? html`<span class="shelf-coupon" aria-hidden="true">${t("packet.sign")}</span>` : html`<${Picture} src=${view.picture} name=${pick(view.name)} large=${true} />`}
      <div class="grow stack-tight">
        <p class="shelf-name">${shop.room.pin === view.id && html`<span class="pinned-mark">${t("room.pinned")}</span>`}<span class="chip">${t(`offer.kind.${view.kind}`)}</span> ${coupon ? inShort(view.coupon) : pick(view.name)}</p>
        <p class="small muted">${coupon && `${conditions(view.coupon)} · `}${t(coupon ? "offer.limit.coupon" : packet ? "offer.limit.packet" : "offer.limit", { n: view.per_person })}${view.per_order && ` · ${t("sale.per_order", { n: view.per_order })}`}
          ${view.closes && open && !offer.soon && html` · ${t("offer.closes")} <${Countdown} until=${view.closes} skew=${shop.live.skew} />`}</p>
        <div class="row between"><span class="row">${!coupon && !packet && html`<${Price} fen=${team?.fen ?? view.fen} was=${view.list_fen} />`}<${Left} shop=${shop} offer=${offer} /></span><${ActButton} shop=${shop} offer=${offer} /></div>
      </div>
    </div>
    ${team && html`<${GroupBar} view=${view} team=${team} /><p class="small muted">${groupWords(team)}</p>`}
  </li>`;
}
