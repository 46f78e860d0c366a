// The buy sheet: how many, at which store, and what became of the tap.
import { html, useEffect, useState, cls } from "../shared/dom.js";
import { t, pick, said, distance } from "../shared/i18n.js";
import { Button, Picture, Price, Stepper } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { GroupBar, groupWords } from "./cards.js";
import { TeamChoice } from "./team.js";

const EARTH = 6_371_000; // m

/** Metres between two points given in degrees; a sphere is good enough to sort stores by. */
function metres(a, b) {
  const rad = (x) => (x * Math.PI) / 180;
  const h = Math.sin(rad(b.lat - a.lat) / 2) ** 2 + Math.cos(rad(a.lat)) * Math.cos(rad(b.lat)) * Math.sin(rad(b.lon - a.lon) / 2) ** 2;
  return 2 * EARTH * Math.asin(Math.sqrt(h));
}

const locate = () =>
  new Promise((found, no) => {
    if (!navigator.geolocation) no(new Error("no geolocation"));
    else navigator.geolocation.getCurrentPosition(({ coords }) => found({ lat: coords.latitude, lon: coords.longitude }), no, { timeout: 8000, maximumAge: 300_000 });
  });

/** Where the person is: at once when they allowed it before, else only when they ask for it. */
function usePlace() {
  const [place, set] = useState(null);
  const [failed, fail] = useState(false);
  const ask = () => locate().then(set, () => fail(true));
  useEffect(() => {
    navigator.permissions?.query({ name: "geolocation" }).then((answer) => answer.state === "granted" && ask(), () => {});
  }, []);
  return { place, failed, ask };
}

function storesOf(shop, offer, place) {
  const rows = Object.entries(offer.left || {}).map(([code, left]) => {
    const store = shop.store(code);
    const known = place && typeof store.lat === "number" && typeof store.lon === "number";
    return { ...store, left, far: known ? metres(place, store) : null };
  });
  return rows.sort((a, b) => Number(b.left > 0) - Number(a.left > 0) || (a.far ?? Infinity) - (b.far ?? Infinity) || 0);
}

export function BuySheet({ shop, id, team: asked = null, onClose }) {
  const offer = shop.offer(id);
  const [qty, setQty] = useState(1);
  const [chosen, setChosen] = useState(() => shop.keptHere("store"));
  const [joins, join] = useState(asked); // a small team, null: open one
  const { place, failed, ask } = usePlace();
  useEffect(() => () => shop.taps.forget(id), [id]);
  if (!offer) return null;

  const { view, team } = offer;
  const stores = storesOf(shop, offer, place);
  const store = stores.find((one) => one.code === chosen && one.left >= 1) || stores.find((one) => one.left >= qty) || stores.find((one) => one.left >= 1) || null;
  const room = team ? Math.max(0, team.size - team.paid - team.held) : Infinity;
  const most = Math.max(1, Math.min(view.per_person, view.per_order ?? Infinity, store?.left ?? 1, room));
  const count = Math.min(qty, most);
  const fen = team?.fen ?? view.fen;
  const tap = shop.taps.of(id);
  const busy = shop.taps.busy(id);
  const can = offer.open && !offer.soon && store && store.left >= count && room >= 1;

  const go = () => {
    shop.keepHere("store", store.code);
    shop.taps.buy(view, count, store.code, view.team ? joins : null);
  };
  const foot = html`<${Button} kind="btn-primary btn-block" disabled=${!can || busy} onPress=${go} first=${true}>
    ${busy ? html`<span class="spin" aria-hidden="true"></span>${t(tap.state === "sending" ? "buy.sending" : "buy.moment")}`
      : offer.soon ? t("sale.soon") : offer.open ? (can ? t(view.team && joins === null ? "team.open.fen" : view.kind === "group" ? "buy.confirm.group" : "buy.confirm", { fen: fen * count }) : t("offer.sold_out")) : t("offer.ended")}<//>`;

  return html`<${Sheet} title=${t("buy.title")} onClose=${onClose} foot=${foot}>
    <div class="stack">
      <div class="row buy-item"><${Picture} src=${view.picture} name=${pick(view.name)} large=${true} />
        <div class="grow stack-tight"><h3>${pick(view.name)}</h3><p><${Price} fen=${fen} was=${view.list_fen} /></p><p class="small muted">${t("offer.limit", { n: view.per_person })}${view.per_order && ` · ${t("sale.per_order", { n: view.per_order })}`}</p></div></div>
      <${Verdict} tap=${tap} />
      ${view.team && html`<${TeamChoice} shop=${shop} view=${view} chosen=${joins} onChoose=${join} busy=${busy} />`}
      ${team && html`<div class="stack-tight"><${GroupBar} view=${view} team=${team} /><p class="small">${groupWords(team)}</p><p class="note">${t("group.explain", { n: team.minimum })}</p></div>`}
      ${!view.team && html`<div class="row between"><span class="field-label">${t("buy.qty")}</span><${Stepper} value=${count} most=${most} onChange=${setQty} label=${t("buy.qty")} /></div>`}
      <fieldset class="stores" disabled=${busy}>
        <legend class="row between"><span class="field-label">${t("buy.store")}</span>
          ${!place && navigator.geolocation && !failed && html`<button type="button" class="btn btn-quiet btn-sm" onClick=${ask}>${t("buy.nearest")}</button>`}</legend>
        ${failed && !place && html`<p class="small muted">${t("buy.nearest.no")}</p>`}
        ${stores.map((one) => html`<${StoreRow} key=${one.code} store=${one} chosen=${store?.code === one.code} onChoose=${() => setChosen(one.code)} />`)}
        ${!store && html`<p class="note note-warn row between"><span>${t("buy.all_gone")}</span>${offer.open && shop.waits.line(id) && html`<${Button} kind="btn-sm" onPress=${() => {
          onClose();
          shop.open("wait", { id });
        }}>${t("wait.enter")}<//>`}</p>`}
      </fieldset>
      <p class="small muted">${t("buy.hold")}</p>
    </div>
  <//>`;
}

function StoreRow({ store, chosen, onChoose }) {
  const none = store.left <= 0;
  return html`<label class=${cls("store", chosen && "store-chosen", none && "store-none")}>
    <input type="radio" name="store" value=${store.code} checked=${chosen} disabled=${none} onChange=${onChoose} />
    <span class="grow"><b>${pick(store.name)}</b><span class="small muted">${pick(store.address)}${store.hours ? ` · ${t("buy.hours", { hours: store.hours })}` : ""}</span></span>
    <span class="store-facts small">${store.far !== null && html`<span class="muted num">${distance(store.far)}</span>`}<span class=${cls("num", none ? "muted" : "store-left")}>${none ? t("buy.store.none") : t("buy.store.left", { n: store.left })}</span></span>
  </label>`;
}

function Verdict({ tap }) {
  if (!tap) return null;
  if (tap.state === "refused") return html`<p class="note note-bad" role="alert">${said(tap.no)}</p>`;
  if (tap.state === "moment") return html`<p class="note note-warn" role="status">${t("buy.moment.text")}</p>`;
  return null;
}
