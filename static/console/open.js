// Opening a sale and dropping a coupon; adding stock to what is open. Prices are typed in yuan and sent in fen.
import { html, useState, useContext, createContext } from "/static/shared/dom.js";
import { t, pick, money } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Sheet } from "/static/shared/dialog.js";
import { Field } from "/static/shared/parts.js";
import { useForm, Whole, Yuan, Left, toFen, toWhole } from "/static/login/forms.js";
import { Start, startBody, startFaults, startValues } from "./start.js";
import { Conditions, NO_CONDITIONS, conditionBody, conditionFaults, isPercent } from "./conditions.js";
import { SkuChoice, StockByStore, stockBody, stockFaults, Minutes, chooseGoods, limitFaults, titleOf } from "./goods.js";

/** {title, send, above}: other words over it and on the button, and what stands above the fields, where a form is filled in for later. */
export const Later = createContext(null);

/** The frame of each form: what is typed is not lost by a slip beside it. */
export function FormSheet({ title, form, send: now, onClose, wide, children }) {
  const later = useContext(Later);
  const send = later?.send || now;
  return html`<${Sheet} title=${later ? `${later.title} · ${title}` : title} onClose=${onClose} wide=${wide} firm cls="form-sheet" foot=${html`
    <button type="button" class="btn" onClick=${onClose}>${t("console.cancel")}</button>
    <button type="submit" form="the-form" class="btn btn-primary" disabled=${form.busy}>${form.busy && html`<span class="spin"></span>`}${send}</button>`}>
    <form id="the-form" class="form" onSubmit=${form.submit} novalidate>${later?.above}${children}<${Left} form=${form} /></form>
  <//>`;
}

const USUAL_MINUTES = "10"; // a flash sale lasts 1 to 20; the door takes up to a day

/** `minutes` left out: until ended by hand. */
export const withMinutes = (body, minutes) => (minutes ? { ...body, minutes: toWhole(minutes) } : body);

export function OpenSale({ studio, onClose }) {
  const later = useContext(Later); // a row of the run sheet says itself when it starts
  const form = useForm(
    { sku: null, fen: "", per_person: "1", minutes: USUAL_MINUTES, stock: {}, ...startValues(studio.live), ...studio.typed },
    (v) => ({
      sku: v.sku ? "" : t("console.need_goods"),
      fen: !v.sku || toFen(v.fen) > 0 ? "" : t("console.need_price"),
      ...limitFaults(v),
      ...startFaults(v, studio.room.now()),
      ...(v.sku ? stockFaults(v.sku, v.stock) : {}),
    }),
    async (v, key) => {
      await studio.open("sales", withMinutes({ sku: v.sku.code, fen: toFen(v.fen), per_person: toWhole(v.per_person), stock: stockBody(v.stock), ...startBody(v, studio.room.now()) }, v.minutes), key);
      studio.opened(t(v.start === "now" ? "console.sale_opened" : "console.sale_planned", { name: titleOf(v.sku) }));
      onClose();
    },
  );
  const { values, set } = form;
  const off = values.sku && toFen(values.fen) !== null ? Math.round((1 - toFen(values.fen) / values.sku.fen) * 100) : 0;
  return html`<${FormSheet} title=${t("console.open_sale")} form=${form} send=${t(values.start === "now" ? "console.open_now" : "console.plan_it")} onClose=${onClose} wide>
    <${SkuChoice} value=${values.sku} onChoose=${chooseGoods(set)} error=${form.error("sku")} />
    ${values.sku && html`
      <div class="three">
        <${Yuan} label=${t("console.price")} ...${form.bind("fen")} hint=${off > 0 ? t("console.off_percent", { n: off }) : t("console.shop_price", { fen: values.sku.fen })} />
        <${Whole} label=${t("console.per_person")} ...${form.bind("per_person")} />
        <${Minutes} value=${values.minutes} error=${form.error("minutes")} onInput=${(text) => set("minutes", text)} />
        <${Whole} label=${t("console.per_order")} ...${form.bind("per_order")} placeholder=${t("console.per_order_none")} />
      </div>
      ${!later && html`<${Start} form=${form} live=${studio.live} />`}
      <${StockByStore} sku=${values.sku} stores=${studio.place.stores} values=${values.stock} set=${(stock) => set("stock", stock)} error=${form.error} />`}
  <//>`;
}

export function OpenCoupon({ studio, onClose }) {
  const form = useForm(
    { off: "", threshold: "", total: "100", per_person: "1", minutes: "10", ...NO_CONDITIONS, ...studio.typed },
    (v) => {
      const [off, threshold] = [toFen(v.off), v.threshold ? toFen(v.threshold) : 0];
      return {
        off: !(off > 0) ? t("console.need_price") : !isPercent(v) && threshold && off >= threshold ? t("login.why.below_threshold") : "",
        threshold: threshold === null ? t("login.why.number") : "",
        total: toWhole(v.total) >= 1 ? "" : t("login.why.above_zero"),
        ...limitFaults(v),
        ...conditionFaults(v),
      };
    },
    async (v, key) => {
      const body = { ...conditionBody(v), off: toFen(v.off), threshold: v.threshold ? toFen(v.threshold) : 0, total: toWhole(v.total), per_person: toWhole(v.per_person) };
      await studio.open("coupons", withMinutes(body, v.minutes), key);
      studio.opened(t("console.coupon_opened"));
      onClose();
    },
  );
  const { values } = form;
  const cost = (toFen(values.off) || 0) * (toWhole(values.total) || 0);
  return html`<${FormSheet} title=${t("console.open_coupon")} form=${form} send=${t("console.drop_now")} onClose=${onClose}>
    <div class="two">
      <${Yuan} label=${t(isPercent(values) ? "console.off_most" : "console.off")} ...${form.bind("off")} first />
      <${Yuan} label=${t("console.threshold")} ...${form.bind("threshold")} placeholder=${t("console.any_order")} />
      <${Whole} label=${t("console.how_many")} ...${form.bind("total")} hint=${cost ? t("console.costs", { fen: cost }) : ""} />
      <${Whole} label=${t("console.per_person_coupon")} ...${form.bind("per_person")} />
    </div>
    <${Minutes} value=${values.minutes} error=${form.error("minutes")} onInput=${(text) => form.set("minutes", text)} />
    <${Conditions} form=${form} />
  <//>`;
}

/** More units for something open: from one store's free stock, or simply more coupons. */
export function AddStock({ studio, offer, onClose }) {
  const coupon = offer.kind === "coupon";
  const places = offer.places.map((place) => place.code);
  const [location, setLocation] = useState(places[0] || "-");
  const form = useForm(
    { qty: "" },
    (v) => ({ qty: toWhole(v.qty) >= 1 ? "" : t("login.why.above_zero") }),
    async (v, key) => {
      try {
        await studio.addStock(offer.id, location, toWhole(v.qty), key);
      } catch (refusal) {
        if (refusal.code === "not_enough_stock") throw Object.assign(refusal, { code: "bad_request", facts: { field: "qty", why: `have ${refusal.facts.have ?? 0}` } });
        throw refusal;
      }
      toast(t("console.stock_added", { n: toWhole(v.qty) }), "good");
      onClose();
    },
  );
  const name = (code) => pick(studio.place.stores.find((one) => one.code === code)?.name) || code;
  return html`<${FormSheet} title=${t("console.add_stock")} form=${form} send=${t("console.add_now")} onClose=${onClose}>
    <p class="lead">${pick(offer.name)}${coupon ? "" : ` · ${money(offer.fen)}`}</p>
    ${!coupon && html`<${Field} label=${t("console.store")} error=${form.error("location")}>
      <select class="input" value=${location} onChange=${(event) => { setLocation(event.target.value); form.setErrors({}); }}>
        ${offer.places.map((place) => html`<option key=${place.code} value=${place.code}>${t("console.store_left", { name: name(place.code), n: place.left })}</option>`)}
      </select><//>`}
    <${Whole} label=${t("console.how_many_more")} ...${form.bind("qty")} first />
  <//>`;
}
