// Red packets: the card and its rain, the password, what one got, and who was luckiest.
import { html, useEffect, useState, cls } from "../shared/dom.js";
import { t, money, pick, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Countdown, Spinner } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";

const ENVELOPES = 14; // falling at once: a hint of rain, nothing a slow phone notices

/** 12 points, or ¥0.12. */
export const worth = (currency, amount) => (currency === "points" ? t("packet.points", { n: amount }) : money(amount));

/** This person's shares and points. */
export class Packets {
  constructor(shop) {
    this.shop = shop;
    this.byOffer = new Map(); // offer -> {offer, amount, currency, grant}
    this.points = null;
    this.spoken = new Map(); // offer -> the word this person said for it
  }

  of(offer) {
    return this.byOffer.get(offer) || null;
  }

  keep(share) {
    this.byOffer.set(share.offer, share);
    this.shop.draw();
  }

  clear() {
    this.byOffer.clear();
    this.spoken.clear();
    this.points = null;
  }

  async fetch() {
    const [{ packets }, { points }] = await Promise.all([viewer.get(`/v1/me/packets?room=${encodeURIComponent(this.shop.id)}`), viewer.get("/v1/me/points")]);
    for (const share of packets) this.byOffer.set(share.offer, share);
    this.points = points;
    this.shop.draw();
  }

  /** The one button of a packet; `opens` a sheet, else pressing it is the claim. */
  act({ view, units, open }) {
    const share = this.of(view.id);
    const sheet = ["packet", { id: view.id }];
    if (share) return { text: worth(share.currency, share.amount), opens: sheet };
    if (!open || units <= 0) return { text: t("packet.luck"), opens: sheet };
    return view.packet.word ? { text: t("packet.say"), opens: sheet } : { text: t("packet.open") };
  }
}

/** The newest packet that this person may still open. */
export function PacketCard({ shop, button }) {
  const offer = shop.offers().find((one) => one.view.kind === "packet" && one.open && one.units > 0 && !shop.packets.of(one.view.id));
  if (!offer) return null;
  const { view, units } = offer;
  return html`<section class="coupon packet" key=${view.id} aria-label=${t("offer.kind.packet")}>
    <div class="rain" aria-hidden="true">${Array.from({ length: ENVELOPES }, (_, n) => html`<i key=${n} style=${{ left: `${(n * 37 + 5) % 96}%`, animationDelay: `${(n * 0.31) % 2.4}s` }}></i>`)}</div>
    <div class="coupon-text packet-text"><p>${pick(view.name)}</p>
      <p class="coupon-facts">${view.closes && html`<${Countdown} until=${view.closes} skew=${shop.live.skew} />`}<span class="num">${t("offer.left", { n: units })}</span></p></div>
    ${button(offer)}
  </section>`;
}

export function PacketSheet({ shop, id, onClose }) {
  const offer = shop.offer(id);
  const share = shop.packets.of(id);
  const mayOpen = offer && offer.open && offer.units > 0 && !share;
  return html`<${Sheet} title=${offer ? pick(offer.view.name) : t("offer.kind.packet")} onClose=${onClose}>
    <div class="stack">
      ${share && html`<p class="packet-got" role="status"><span>${t("packet.got")}</span><b class="num">${worth(share.currency, share.amount)}</b><span class="small muted">${offer?.view.void ? t("coupon.void.why", { why: offer.view.void }) : t(`packet.where.${share.currency}`)}</span></p>`}
      ${mayOpen && (offer.view.packet.word ? html`<${Password} shop=${shop} view=${offer.view} />` : html`<${Button} kind="btn-primary" onPress=${() => shop.taps.claim(offer.view)}>${t("packet.open")}<//>`)}
      ${!mayOpen && html`<${Report} id=${id} over=${!offer?.open || offer.units <= 0} />`}
    </div>
  <//>`;
}

/** Says the word in the room, once, then claims with it. */
function Password({ shop, view }) {
  const [word, setWord] = useState("");
  const [fault, setFault] = useState("");
  const no = shop.taps.of(view.id)?.no;
  const wrong = fault || (no ? said(no) : "");
  const send = async (event) => {
    event?.preventDefault();
    const spoken = word.trim();
    if (!spoken || shop.taps.busy(view.id)) return;
    setFault("");
    try {
      if (shop.packets.spoken.get(view.id) !== spoken) await shop.live.say(spoken);
      shop.packets.spoken.set(view.id, spoken);
      await shop.taps.claim(view, spoken);
    } catch (refusal) {
      setFault(said(refusal));
    }
  };
  return html`<form class="stack" onSubmit=${send}>
    <label class="field"><span class="field-label">${t("packet.word")}</span>
      <input class="input" value=${word} maxlength="40" data-first autocomplete="off" enterkeyhint="send" aria-invalid=${Boolean(wrong)} onInput=${(event) => setWord(event.target.value)} />
      <span class=${wrong ? "field-error" : "field-hint"} role=${wrong ? "alert" : undefined}>${wrong || t("packet.word.hint")}</span></label>
    <button class="btn btn-primary" disabled=${!word.trim() || shop.taps.busy(view.id)}>${t("packet.say.open")}</button>
  </form>`;
}

/** How it went; who was luckiest once it is over. */
function Report({ id, over }) {
  const [found, set] = useState(null);
  const [failed, fail] = useState(null);
  const ask = () => viewer.get(`/v1/offers/${id}/packet`).then((report) => {
    fail(null);
    set(report);
  }, fail);
  useEffect(() => {
    ask();
  }, [id, over]);
  if (failed) return html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${ask}>${t("retry")}<//></p>`;
  if (!found) return html`<${Spinner} />`;
  return html`<p class="small muted num">${t("packet.report", { taken: found.taken, shares: found.shares, sum: worth(found.currency, found.taken_sum) })}</p>
    ${found.luckiest.length > 0 ? html`<h3 class="small">${t("packet.luckiest")}</h3><ol class="lucky">${found.luckiest.map((one, n) => html`<li key=${n} class=${cls("row between", n === 0 && "lucky-first")}><span>${one.name}</span><b class="num">${worth(found.currency, one.amount)}</b></li>`)}</ol>`
      : html`<p class="small muted">${t(over ? "packet.nobody" : "packet.later")}</p>`}`;
}
