// The run area: what is open now, card by card, and the things a host can open.
import { html, cls, useState } from "/static/shared/dom.js";
import { t, pick, number, money, date } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { confirm } from "/static/shared/dialog.js";
import { Bar, Button, Countdown, Empty, Picture, Price, Spinner } from "/static/shared/parts.js";
import { Key } from "./keys.js";
import { Cue } from "./run-cue.js";
import { Draws } from "./open-giveaway.js";
import { TeamCounts } from "./open-team.js";
import { Owed } from "./owed.js";

const FACES = { coupon: "console.coupon_sign", packet: "console.packet_sign" }; // of what is claimed, and has no picture, price or payment
const hasCoupons = (offer) => offer.kind === "coupon" || offer.packet?.currency === "coupon"; // which can be taken back
const LOW = 0.2; // of the total: below this a store's stock is marked

/** The pinned one's successor on the shelf: what the host most likely explains next. */
export function nextPin(offers, pin) {
  const open = offers.filter((one) => one.phase === "open").sort((a, b) => a.id - b.id);
  if (!open.length) return null;
  return (open.find((one) => one.id > pin) || open[0]).id;
}

/** Pins or unpins; says why when it may not. */
export async function pinTo(studio, offer) {
  try {
    await studio.pin(offer);
  } catch (refusal) {
    refused(refusal);
  }
}

const formOf = (offer) => (offer.teams ? "teams" : offer.kind);
const soon = (offer) => offer.state === "SCHEDULED" || offer.state === "COUNTDOWN";
const endWord = (offer) => (soon(offer) ? "console.call_off" : offer.kind === "sale" ? "console.stop_sale" : "console.end");

/** A sale's state, and the clock it waits for: its start, then its end. */
function SaleState({ studio, offer }) {
  const until = soon(offer) ? offer.opens : offer.phase === "open" ? offer.closes : null;
  return html`<span class=${cls("tag", offer.state === "SOLD_OUT" && "tag-bad", offer.state === "COUNTDOWN" && "tag-pin")}>${t(`console.sale.${offer.state}`)}</span>
    ${offer.state === "SCHEDULED" && html`<span class="small muted">${date(offer.opens)}</span>`}
    ${until && html`<${Countdown} key=${until} until=${until} skew=${studio.room.skew} onEnd=${() => studio.draw()} class="offer-clock" />`}`;
}

async function endIt(studio, offer) {
  const yes = await confirm({
    title: t("console.end_title", { name: pick(offer.name) }),
    text: t(soon(offer) ? "console.end_planned" : `console.end_${formOf(offer)}`),
    yes: t(endWord(offer)),
    danger: true,
  });
  if (!yes) return;
  try {
    await studio.end(offer.id);
    toast(t("console.ended_done", { name: pick(offer.name) }), "good");
  } catch (refusal) {
    refused(refusal);
    studio.askOffers();
  }
}

function Places({ offer, stores }) {
  const rows = offer.places.filter((place) => place.code !== "-");
  if (!rows.length) return null;
  const name = (code) => pick(stores.find((one) => one.code === code)?.name) || code;
  return html`<ul class="places">${rows.map((place) => html`<li key=${place.code} class=${cls(place.left === 0 && "is-out", place.left > 0 && place.left <= place.total * LOW && "is-low")}>
    <span class="ellipsis">${name(place.code)}</span>
    ${place.total === null ? html`<span></span>` : html`<${Bar} size=${place.total} solid=${place.left} label=${t("console.left_of", { name: name(place.code), left: place.left, total: place.total })} />`}
    <span class="num places-n"><b>${number(place.left)}</b>${place.total !== null && ` / ${number(place.total)}`}</span>
  </li>`)}</ul>`;
}

/** Units: left, taken, and of those paid for; `whole`: a moderator is not told which are paid. */
function Count({ offer, whole }) {
  const coupon = offer.kind in FACES;
  const paid = Math.min(offer.units, offer.taken);
  return html`<div class="count-row">
    <span class=${cls("count-main", offer.left === 0 && "is-out")}><b class="num">${number(offer.left)}</b><small>${t(coupon ? "console.coupons_left" : "console.left")}</small></span>
    <span><b class="num">${number(coupon || whole ? offer.taken : paid)}</b><small>${t(coupon ? "console.claimed" : whole ? "console.taken" : "console.sold")}</small></span>
    ${!coupon && !whole && html`<span><b class="num">${number(offer.taken - paid)}</b><small>${t("console.held")}</small></span>`}
    <span><b class="num">${number(offer.total)}</b><small>${t("console.total")}</small></span>
    ${offer.waiting > 0 && html`<span class="count-waiting"><b class="num">${number(offer.waiting)}</b><small>${t("console.waiting")}</small></span>`}
  </div>`;
}

function Team({ team, tiers, fen }) {
  const full = team.paid >= team.size;
  return html`<div class="team">
    <div class="row between small"><span><b class="num">${team.paid}</b> / <span class="num">${team.size}</span> ${t("console.seats_paid")}${team.held > 0 && html` <span class="muted num">+${team.held} ${t("console.held")}</span>`}</span>
      <span class=${cls("chip", team.state === "success" && "chip-good", team.state === "failed" && "chip-bad")}>${t(`console.team.${full && team.state === "filling" ? "full" : team.state}`)}</span></div>
    <${Bar} size=${team.size} solid=${team.paid} light=${team.held} mark=${team.minimum} steps=${(tiers || []).slice(1).map((tier) => tier.seats)}
      label=${t("console.team_bar", { paid: team.paid, size: team.size })} />
    <ol class="tiers">${(tiers || []).map((tier) => html`<li key=${tier.seats} class=${cls(fen === tier.fen && "is-now", team.paid >= tier.seats && "is-past")}>
      <b class="num">${money(tier.fen)}</b><small class="num">${tier.seats ? t("console.from_seats", { n: tier.seats }) : t("console.start_price")}</small></li>`)}</ol>
    <p class="tiny muted">${t(team.paid >= team.minimum ? "console.minimum_met" : "console.minimum_lacks", { n: team.minimum, lacks: team.minimum - team.paid })}</p>
  </div>`;
}

function Card({ studio, offer, at, pinned, may, onStock, onPrice, onTime, onVoid }) {
  const open = offer.phase === "open";
  return html`<li class=${cls("offer", `offer-${offer.kind}`, pinned && "is-pinned", !open && "is-ended")} style=${{ order: at }}>
    <div class="offer-head">
      ${offer.kind in FACES ? html`<span class="picture ticket-face" aria-hidden="true">${t(FACES[offer.kind])}</span>` : html`<${Picture} src=${offer.picture} name=${pick(offer.name)} />`}
      <div class="grow">
        <div class="row offer-tags"><span class=${`tag tag-${offer.kind}`}>${t(`console.kind.${formOf(offer)}`)}</span>
          ${pinned && html`<span class="tag tag-pin">${t("console.pinned")}</span>`}
          ${offer.state ? html`<${SaleState} studio=${studio} offer=${offer} />` : html`
          ${open && offer.left === 0 && html`<span class="tag tag-bad">${t("console.sold_out")}</span>`}
          ${open && offer.closes && html`<${Countdown} until=${offer.closes} skew=${studio.room.skew} class="offer-clock" />`}
          ${!open && html`<span class=${cls("tag", offer.void && "tag-bad")}>${t(offer.void ? "console.void_done" : "console.ended")}</span>`}`}</div>
        <h3>${pick(offer.name)}</h3>
        <p class="small muted num">${!(offer.kind in FACES) && html`<${Price} fen=${offer.team?.fen ?? offer.fen} was=${offer.list_fen} /> · `}${t("console.per_person_n", { n: offer.per_person })}${offer.per_order && ` · ${t("console.per_order_n", { n: offer.per_order })}`}</p>
      </div>
    </div>
    <${Count} offer=${offer} whole=${!may.run} />
    ${offer.team && html`<${Team} team=${offer.team} tiers=${offer.tiers} fen=${offer.team.fen ?? offer.fen} />`}
    ${offer.teams && html`<${TeamCounts} studio=${studio} offer=${offer} />`}
    ${studio.owed.filter((one) => one.offer === offer.id).map((one) => html`<${Owed} key=${one.cause} one=${one} />`)}
    <${Places} offer=${offer} stores=${studio.place.stores} />
    ${may.run && open && html`<div class="offer-acts">
      <${Button} kind=${pinned ? "btn-soft" : ""} onPress=${() => pinTo(studio, pinned ? null : offer.id)}>${t(pinned ? "console.unpin" : "console.pin")}<//>
      ${offer.kind !== "packet" && html`<button type="button" class="btn" onClick=${() => onStock(offer)}>${t("console.add_stock")}</button>`}
      ${offer.kind === "sale" && html`<button type="button" class="btn" onClick=${() => onPrice(offer)}>${t("console.change_price")}</button>`}
      ${offer.state === "SCHEDULED" && html`<button type="button" class="btn" onClick=${() => onTime(offer)}>${t("console.change_time")}</button>`}
      ${hasCoupons(offer) && html`<button type="button" class="btn btn-quiet" onClick=${() => onVoid(offer)}>${t("console.void")}</button>`}
      <${Button} kind="btn-quiet offer-end" onPress=${() => endIt(studio, offer)}>${t(endWord(offer))}<//>
    </div>`}
    ${may.run && !open && hasCoupons(offer) && !offer.void && html`<div class="offer-acts"><button type="button" class="btn btn-quiet" onClick=${() => onVoid(offer)}>${t("console.void")}</button></div>`}
  </li>`;
}

/** About how high a card is (px): what stands on it by its kind, and a row for each store. */
const height = (offer) => ({ coupon: 210, packet: 210, sale: 230, group: 370 })[offer.kind] + (offer.kind in FACES ? 0 : 26 * offer.places.length);

/** Cards in two columns without holes, each under the shorter one; by kind and stores only, so that no card moves while numbers do. */
export function columns(offers) {
  const found = [{ high: 0, cards: [] }, { high: 0, cards: [] }];
  offers.forEach((offer, n) => {
    const shorter = found[1].high < found[0].high ? found[1] : found[0];
    shorter.cards.push({ offer, n });
    shorter.high += height(offer);
  });
  return found.map((one) => one.cards);
}

export function Shelf({ studio, may, onOpen, onStock, onPrice, onTime, onVoid }) {
  const [past, setPast] = useState(false);
  const offers = studio.offers();
  const open = offers.filter((one) => one.phase === "open");
  const ended = offers.filter((one) => one.phase !== "open");
  const known = studio.offersKnown || studio.room.state.size > 0;
  const card = ({ offer, n }) => html`<${Card} key=${offer.id} studio=${studio} offer=${offer} at=${n} pinned=${offer.id === studio.view.pin && offer.phase === "open"} may=${may} onStock=${onStock} onPrice=${onPrice} onTime=${onTime} onVoid=${onVoid} />`;
  const cards = (all) => html`<div class="offers">${columns(all).map((column, n) => html`<ul key=${n}>${column.map(card)}</ul>`)}</div>`;
  return html`<section class="panel shelf" aria-label=${t("console.shelf")}>
    ${may.run && html`<div class="launch">
      <button type="button" class="btn launch-sale" disabled=${!studio.plannable} onClick=${() => onOpen("sale")}>${t("console.open_sale")}<${Key} of="S" /></button>
      <button type="button" class="btn launch-coupon" disabled=${!studio.live} onClick=${() => onOpen("coupon")}>${t("console.open_coupon")}<${Key} of="C" /></button>
      <button type="button" class="btn launch-group" disabled=${!studio.live} onClick=${() => onOpen("group")}>${t("console.open_group")}<${Key} of="G" /></button>
      <button type="button" class="btn launch-coupon" disabled=${!studio.live} onClick=${() => onOpen("packet")}>${t("console.open_packet")}<${Key} of="H" /></button>
      <button type="button" class="btn launch-group" disabled=${!studio.live} onClick=${() => onOpen("draw")}>${t("console.open_draw")}<${Key} of="D" /></button>
      <button type="button" class="btn launch-leader" disabled=${!studio.live} onClick=${() => onOpen("leader")}>${t("console.open_leader")}</button>
      <button type="button" class="btn launch-group" disabled=${!studio.live} onClick=${() => onOpen("teams")}>${t("console.open_teams")}<${Key} of="T" /></button>
      <button type="button" class="btn btn-quiet launch-next" disabled=${!open.length} onClick=${() => pinTo(studio, nextPin(offers, studio.view.pin))}>${t("console.pin_next")}<${Key} of="P" /></button>
    </div>
    <${Cue} studio=${studio} onOpen=${() => onOpen("run")} />`}
    <div class="panel-body">
      <${Draws} studio=${studio} may=${may} />
      ${!known ? html`<${Spinner} />` : !open.length && html`<${Empty} title=${t("console.shelf_empty")} text=${t(studio.live ? "console.shelf_empty_live" : "console.shelf_empty_text")} />`}
      ${cards(open)}
      ${ended.length > 0 && html`<button type="button" class="link-btn" aria-expanded=${past} onClick=${() => setPast(!past)}>${t(past ? "console.hide_ended" : "console.show_ended", { n: ended.length })}</button>`}
      ${past && cards(ended)}
    </div>
  </section>`;
}
