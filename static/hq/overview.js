// Head office at work: rooms, stores, staff, catalogue, books.
import { html, cls, useState, useEffect } from "/static/shared/dom.js";
import { t, pick, money, number } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Sheet } from "/static/shared/dialog.js";
import { Picture } from "/static/shared/parts.js";
import { StoreForm } from "./store-form.js";
import { RoomForm } from "./room-form.js";
import { ImportGoods } from "./import.js";
import { RoomLinks, roomUrl } from "./links.js";
import { People } from "./people.js";
import { Books } from "./books.js";
import { Watch } from "./watch.js";
import { Exceptions } from "./exceptions.js";

const PARTS = ["rooms", "stores", "staff", "goods", "books"];
const MOST = 300; // rows of the catalogue drawn at once

function useHash() {
  const read = () => (PARTS.includes(location.hash.slice(1)) ? location.hash.slice(1) : PARTS[0]);
  const [part, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return part;
}

function Rooms({ rooms, again }) {
  const [sheet, set] = useState(null); // {room?} to make or change, {links: room}
  const done = () => {
    set(null);
    again();
    toast(t("hq.saved"), "good");
  };
  return html`<section aria-labelledby="rooms">
    <div class="section-head"><h2 id="rooms">${t("hq.rooms")}</h2><button type="button" class="btn btn-primary" onClick=${() => set({})}>${t("hq.new_room")}</button></div>
    <ul class="cards">${rooms.map((room) => html`<li key=${room.id} class="card room">
      <div class="row between"><b class="ellipsis">${pick(room.title)}</b><span class=${cls("chip", room.phase === "live" && "chip-accent")}>${t(`console.phase.${room.phase}`)}</span></div>
      <p class="small muted ellipsis">${roomUrl(room.id)}</p>
      ${!room.play_url && html`<p class="note note-warn">${t("hq.no_video")}</p>`}
      <div class="row row-wrap room-acts"><a class="btn btn-soft" href=${`/console/${encodeURIComponent(room.id)}`}>${t("hq.open_console")}</a>
        <button type="button" class="btn" onClick=${() => set({ links: room })}>${t("hq.share")}</button>
        <button type="button" class="btn btn-quiet" onClick=${() => set({ room })}>${t("hq.edit")}</button></div></li>`)}</ul>
    ${sheet?.links && html`<${Sheet} title=${pick(sheet.links.title)} onClose=${() => set(null)} wide><${RoomLinks} room=${sheet.links} /><//>`}
    ${sheet && !sheet.links && html`<${Sheet} title=${sheet.room ? t("hq.edit") : t("hq.new_room")} onClose=${() => set(null)} firm wide><${RoomForm} room=${sheet.room} onMade=${done} onCancel=${() => set(null)} /><//>`}
  </section>`;
}

function Stores({ stores, again }) {
  const [making, set] = useState(false);
  const made = () => {
    set(false);
    again();
  };
  return html`<section aria-labelledby="stores">
    <div class="section-head"><h2 id="stores">${t("hq.stores")}</h2><button type="button" class="btn btn-primary" onClick=${() => set(true)}>${t("hq.add_store")}</button></div>
    <ul class="cards">${stores.map((store) => html`<li key=${store.code} class="card stack"><div class="row between"><b>${pick(store.name)}</b><span class="chip mono">${store.code}</span></div>
      <p class="small muted">${pick(store.address) || t("hq.no_address")}</p>${store.hours && html`<p class="small num">${store.hours}</p>`}
      <div class="row room-acts"><a class="btn btn-quiet" href=${`/store?store=${encodeURIComponent(store.code)}`}>${t("hq.open_desk")}</a></div></li>`)}</ul>
    ${making && html`<${Sheet} title=${t("hq.add_store")} onClose=${() => set(false)} firm wide><${StoreForm} onMade=${made} onCancel=${() => set(false)} /><//>`}
  </section>`;
}

function Goods({ skus, stores, again }) {
  const [text, setText] = useState("");
  const [importing, set] = useState(false);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const titleOf = (sku) => sku.title || sku.name;
  const found = skus.filter((sku) => words.every((word) => [sku.code, titleOf(sku).zh, titleOf(sku).en, sku.category].join(" ").toLowerCase().includes(word)));
  return html`<section aria-labelledby="goods">
    <div class="section-head"><h2 id="goods">${t("hq.goods")} <span class="muted num">${number(skus.length)}</span></h2>
      <input class="input search" type="search" placeholder=${t("console.search_goods")} aria-label=${t("console.search_goods")} value=${text} onInput=${(event) => setText(event.target.value)} />
      <button type="button" class="btn btn-primary" onClick=${() => set(true)}>${t("hq.import")}</button></div>
    <p class="small muted">${t("hq.stock_key")}</p>
    <div class="card scroll"><table class="table goods"><thead><tr><th>${t("hq.item")}</th><th class="right">${t("hq.price")}</th>${stores.map((store) => html`<th key=${store.code} class="right">${pick(store.name)}</th>`)}</tr></thead>
      <tbody>${found.slice(0, MOST).map((sku) => html`<tr key=${sku.code}><td><span class="row"><${Picture} src=${sku.picture} name=${pick(titleOf(sku))} /><span class="goods-name"><b>${pick(titleOf(sku))}</b><small class="muted mono">${sku.code}</small></span></span></td><td class="right num">${money(sku.fen)}</td>
        ${stores.map((store) => html`<td key=${store.code} class="right num"><${Level} level=${sku.stock?.[store.code]} /></td>`)}</tr>`)}</tbody></table></div>
    ${importing && html`<${Sheet} title=${t("hq.import")} onClose=${() => set(false)} firm wide><${ImportGoods} stores=${stores} onDone=${again} /><//>`}
  </section>`;
}

function Level({ level }) {
  if (!level) return html`<span class="muted">–</span>`;
  return html`<b class=${cls(!level.free && "is-none")}>${number(level.free)}</b>${level.allotted > 0 && html`<small class="muted"> +${number(level.allotted)}</small>`}`;
}

export function Overview({ you, held, again }) {
  const part = useHash();
  return html`<div class="office">
    <nav class="office-nav" aria-label=${t("hq.parts")}>${PARTS.map((name) => html`<a key=${name} href=${`#${name}`} class=${cls(part === name && "is-here")} aria-current=${part === name ? "page" : undefined}>${t(`hq.part.${name}`)}</a>`)}</nav>
    <main class="office-main">
      ${part === "rooms" && html`<${Rooms} rooms=${held.rooms} again=${again} />`}
      ${part === "stores" && html`<${Stores} stores=${held.stores} again=${again} />`}
      ${part === "staff" && html`<${People} you=${you} stores=${held.stores} />`}
      ${part === "goods" && html`<${Goods} skus=${held.skus} stores=${held.stores} again=${again} />`}
      ${part === "books" && html`<${Books} /><${Exceptions} /><${Watch} />`}
    </main>
  </div>`;
}
