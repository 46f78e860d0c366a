// Parts of the opening forms: which SKU, and how many units of which store.
import { html, cls, useState, useEffect } from "/static/shared/dom.js";
import { t, pick, money, number, said } from "/static/shared/i18n.js";
import { Picture, Spinner } from "/static/shared/parts.js";
import { doors, list } from "/static/login/session.js";
import { between, toWhole, toYuan } from "/static/login/forms.js";

const MOST = 60; // rows listed; more is a reason to type another letter

/** The catalogue, asked for anew each time a form opens: free stock moves. {skus, error}. */
export function useCatalogue() {
  const [held, set] = useState({ skus: null, error: null });
  useEffect(() => {
    let wanted = true;
    doors.get("/v1/catalog").then(
      (answer) => wanted && set({ skus: list(answer, "skus"), error: null }),
      (error) => wanted && set({ skus: null, error }),
    );
    return () => {
      wanted = false;
    };
  }, []);
  return held;
}

/** What a SKU is called: product and kind in one. */
export const titleOf = (sku) => pick(sku.title || sku.name);
export const freeOf = (sku) => Object.values(sku.stock || {}).reduce((sum, level) => sum + level.free, 0);

function matches(sku, words) {
  const text = [sku.code, sku.product?.code, sku.name?.zh, sku.name?.en, sku.product?.name?.zh, sku.product?.name?.en, sku.category].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** `value`: the chosen SKU or null. */
export function SkuChoice({ value, onChoose, error }) {
  const { skus, error: failed } = useCatalogue();
  const [text, setText] = useState("");
  if (value) {
    return html`<div class="sku-chosen"><${Picture} src=${value.picture} name=${titleOf(value)} />
      <div class="grow"><b>${titleOf(value)}</b><p class="small muted num">${value.code} · ${t("console.shop_price", { fen: value.fen })} · ${t("console.free_n", { n: freeOf(value) })}</p></div>
      <button type="button" class="link-btn" onClick=${() => onChoose(null)}>${t("console.change")}</button></div>`;
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = (skus || []).filter((sku) => matches(sku, words));
  return html`<div class="sku-choice">
    <label class="field"><span class="field-label">${t("console.goods")}</span>
      <input class="input" type="search" value=${text} data-first placeholder=${t("console.search_goods")} aria-invalid=${Boolean(error)} autocomplete="off"
        onInput=${(event) => setText(event.target.value)}
        onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); if (found.length) onChoose(found[0]); } }} />
      ${error && html`<span class="field-error" role="alert">${error}</span>`}</label>
    ${failed ? html`<p class="note note-bad">${said(failed)}</p>` : !skus ? html`<${Spinner} />`
      : html`<ul class="sku-list">
          ${found.slice(0, MOST).map((sku) => html`<li key=${sku.code}><button type="button" class="sku-row" onClick=${() => onChoose(sku)}>
            <${Picture} src=${sku.picture} name=${titleOf(sku)} /><span class="grow"><b>${titleOf(sku)}</b><small class="muted">${sku.code}</small></span>
            <span class="right num"><b>${money(sku.fen)}</b><small class=${cls(freeOf(sku) ? "muted" : "is-out")}>${t("console.free_n", { n: freeOf(sku) })}</small></span></button></li>`)}
          ${!found.length && html`<li class="panel-none muted small">${t(skus.length ? "console.no_match" : "console.no_goods")}</li>`}
        </ul>`}
  </div>`;
}

/** `values`: store code → typed text. Faults stand under `stock.<code>` and `stock`. */
export function StockByStore({ sku, stores, values, set, error }) {
  const level = (code) => sku.stock?.[code]?.free ?? 0;
  const put = (code, text) => set({ ...values, [code]: text });
  const all = () => set(Object.fromEntries(stores.map((store) => [store.code, String(level(store.code))])));
  const sum = Object.values(values).reduce((total, text) => total + (toWhole(text) || 0), 0);
  const whole = error("stock");
  return html`<fieldset class="stock">
    <legend class="field-label">${t("console.stock_by_store")}</legend>
    <ul>${stores.map((store) => {
      const fault = error(`stock.${store.code}`);
      const free = level(store.code);
      return html`<li key=${store.code} class=${cls("stock-row", !free && "is-out")}>
        <label class="grow" for=${`stock-${store.code}`}><b>${pick(store.name)}</b><small class="muted num">${t("console.free_n", { n: free })}</small></label>
        <input id=${`stock-${store.code}`} class="input num" inputmode="numeric" maxlength="7" placeholder="0" value=${values[store.code] || ""} disabled=${!free}
          aria-invalid=${Boolean(fault)} onInput=${(event) => put(store.code, event.target.value)} />
        <button type="button" class="btn btn-sm btn-quiet" disabled=${!free} onClick=${() => put(store.code, String(free))}>${t("console.all_of_it")}</button>
        ${fault && html`<span class="field-error stock-fault" role="alert">${fault}</span>`}
      </li>`;
    })}</ul>
    <div class="row between stock-sum"><button type="button" class="link-btn" onClick=${all}>${t("console.all_stores_all")}</button><span>${t("console.in_all")} <b class="num">${number(sum)}</b></span></div>
    ${whole && html`<span class="field-error" role="alert">${whole}</span>`}
  </fieldset>`;
}

/** Faults of the stock part; what free stock does not cover is said before the server has to. */
export function stockFaults(sku, values) {
  const faults = {};
  let sum = 0;
  for (const [code, text] of Object.entries(values)) {
    if (!String(text).trim()) continue;
    const units = toWhole(text);
    const free = sku?.stock?.[code]?.free ?? 0;
    if (units === null) faults[`stock.${code}`] = t("login.why.number");
    else if (units > free) faults[`stock.${code}`] = t("login.why.have", { have: free });
    sum += units || 0;
  }
  if (!Object.keys(faults).length && sum < 1) faults.stock = t("console.need_stock");
  return faults;
}

/** Typed stock as the door takes it: stores with nothing are left out. */
export const stockBody = (values) => Object.fromEntries(Object.entries(values).map(([code, text]) => [code, toWhole(text) || 0]).filter(([, units]) => units > 0));

/** Minutes, empty for "until ended by hand". */
export function Minutes({ value, onInput, error }) {
  return html`<label class="field"><span class="field-label">${t("console.minutes")}</span>
    <span class="minutes"><input class="input num" inputmode="numeric" maxlength="4" value=${value} placeholder=${t("console.by_hand")} aria-invalid=${Boolean(error)} onInput=${(event) => onInput(event.target.value)} />
      ${[5, 10, 20].map((n) => html`<button key=${n} type="button" class="btn btn-sm" onClick=${() => onInput(String(n))}>${n}</button>`)}</span>
    ${error ? html`<span class="field-error" role="alert">${error}</span>` : html`<span class="field-hint">${t("console.minutes_hint")}</span>`}</label>`;
}

/** Limits the doors set, said beforehand; no minutes: until ended by hand. */
export const minutesFault = (minutes) => (minutes ? between(minutes, 1, 1440) : "");
export const limitFaults = ({ per_person, minutes }) => ({ per_person: between(per_person, 1, 99), minutes: minutesFault(minutes) });

/** What choosing a SKU does to a form with a price and units per store. */
export const chooseGoods = (set) => (sku) => {
  set("sku", sku);
  set("stock", {});
  if (sku) set("fen", toYuan(sku.fen));
};
