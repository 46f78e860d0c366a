// Opening a group buy: the price falls with the seats that are paid for. The ladder is checked here as the server checks it.
import { html } from "/static/shared/dom.js";
import { t, money } from "/static/shared/i18n.js";
import { useForm, Whole, Yuan, toFen, toWhole, toYuan } from "/static/login/forms.js";
import { SkuChoice, StockByStore, stockBody, stockFaults, Minutes, limitFaults, titleOf } from "./goods.js";
import { FormSheet, withMinutes } from "./open.js";

const MOST_TIERS = 10; // as the server: what a bar on a phone can show

/** Faults of the ladder under `tiers.<n>.seats` and `tiers.<n>.fen`. `tiers`: typed {seats, fen}. */
export function tierFaults(tiers, size) {
  const faults = {};
  let seatsBefore = -1;
  let fenBefore = Infinity;
  tiers.forEach((tier, n) => {
    const seats = n ? toWhole(tier.seats) : 0;
    const fen = toFen(tier.fen);
    if (seats === null) faults[`tiers.${n}.seats`] = t("login.why.number");
    else if (seats <= seatsBefore) faults[`tiers.${n}.seats`] = t("login.why.rising");
    else if (size && seats > size) faults[`tiers.${n}.seats`] = t("console.above_size");
    if (!(fen > 0)) faults[`tiers.${n}.fen`] = t("console.need_price");
    else if (fen >= fenBefore) faults[`tiers.${n}.fen`] = t("login.why.falling");
    seatsBefore = seats ?? seatsBefore;
    fenBefore = fen ?? fenBefore;
  });
  return faults;
}

function check(v) {
  if (!v.sku) return { sku: t("console.need_goods") };
  const size = toWhole(v.size);
  const units = Object.values(stockBody(v.stock)).reduce((sum, n) => sum + n, 0);
  const minimum = toWhole(v.minimum);
  return {
    size: !(size >= 2) ? t("console.size_least") : units && size > units ? t("login.why.above_stock") : "",
    minimum: minimum >= 1 && (!size || minimum <= size) ? "" : t("login.why.within_size"),
    ...limitFaults(v),
    ...tierFaults(v.tiers, size),
    ...stockFaults(v.sku, v.stock),
  };
}

function Tiers({ form }) {
  const { tiers } = form.values;
  const put = (n, name, text) => form.set("tiers", tiers.map((tier, at) => (at === n ? { ...tier, [name]: text } : tier)));
  const add = () => form.set("tiers", [...tiers, { seats: "", fen: "" }]);
  const drop = (n) => form.set("tiers", tiers.filter((_, at) => at !== n));
  return html`<fieldset class="ladder">
    <legend class="field-label">${t("console.ladder")}</legend>
    <ol>${tiers.map((tier, n) => {
      const faults = [form.error(`tiers.${n}.seats`), form.error(`tiers.${n}.fen`)];
      return html`<li key=${n} class="ladder-row">
        <span class="ladder-n num" aria-hidden="true">${n + 1}</span>
        ${n === 0
          ? html`<span class="ladder-start">${t("console.from_start")}</span>`
          : html`<input class="input num" inputmode="numeric" maxlength="7" value=${tier.seats} placeholder=${t("console.seats")} aria-label=${t("console.seats_from", { n: n + 1 })}
              aria-invalid=${Boolean(faults[0])} onInput=${(event) => put(n, "seats", event.target.value)} />`}
        <span class="boxed boxed-lead"><span class="boxed-sign" aria-hidden="true">¥</span><input class="input num" inputmode="decimal" maxlength="10" value=${tier.fen} aria-label=${t("console.price_of_step", { n: n + 1 })}
          aria-invalid=${Boolean(faults[1])} onInput=${(event) => put(n, "fen", event.target.value)} /></span>
        ${n > 0 ? html`<button type="button" class="icon-btn" aria-label=${t("console.drop_step", { n: n + 1 })} onClick=${() => drop(n)}>×</button>` : html`<span class="ladder-gap"></span>`}
        ${faults.filter(Boolean).map((fault) => html`<span key=${fault} class="field-error ladder-fault" role="alert">${fault}</span>`)}
      </li>`;
    })}</ol>
    ${form.error("tiers") && html`<span class="field-error" role="alert">${form.error("tiers")}</span>`}
    ${tiers.length < MOST_TIERS && html`<button type="button" class="link-btn" onClick=${add}>${t("console.add_step")}</button>`}
  </fieldset>`;
}

export function OpenGroup({ studio, onClose }) {
  const form = useForm({ sku: null, per_person: "1", minutes: "15", size: "", minimum: "", tiers: [{ seats: "0", fen: "" }, { seats: "", fen: "" }], stock: {}, ...studio.typed }, check, async (v, key) => {
    const tiers = v.tiers.map((tier, n) => ({ seats: n ? toWhole(tier.seats) : 0, fen: toFen(tier.fen) }));
    const body = { sku: v.sku.code, per_person: toWhole(v.per_person), stock: stockBody(v.stock), size: toWhole(v.size), minimum: toWhole(v.minimum), tiers };
    await studio.open("groups", withMinutes(body, v.minutes), key);
    studio.opened(t("console.group_opened", { name: titleOf(v.sku) }));
    onClose();
  });
  const { values, set } = form;
  const choose = (sku) => {
    set("sku", sku);
    set("stock", {});
    if (sku) set("tiers", values.tiers.map((tier, n) => (n === 0 ? { ...tier, fen: toYuan(sku.fen) } : tier)));
  };
  const best = Math.min(...values.tiers.map((tier) => toFen(tier.fen) || Infinity));
  return html`<${FormSheet} title=${t("console.open_group")} form=${form} send=${t("console.open_now")} onClose=${onClose} wide>
    <${SkuChoice} value=${values.sku} onChoose=${choose} error=${form.error("sku")} />
    ${values.sku && html`
      <div class="form-split">
        <div class="form">
          <div class="two">
            <${Whole} label=${t("console.size")} ...${form.bind("size")} hint=${t("console.size_hint")} />
            <${Whole} label=${t("console.minimum")} ...${form.bind("minimum")} hint=${t("console.minimum_hint")} />
            <${Whole} label=${t("console.per_person")} ...${form.bind("per_person")} />
          </div>
          <${Minutes} value=${values.minutes} error=${form.error("minutes")} onInput=${(text) => set("minutes", text)} />
        </div>
        <div><${Tiers} form=${form} />
          ${best < values.sku.fen && html`<p class="small muted">${t("console.best_price", { fen: best, all: money(values.sku.fen) })}</p>`}</div>
      </div>
      <${StockByStore} sku=${values.sku} stores=${studio.place.stores} values=${values.stock} set=${(stock) => set("stock", stock)} error=${form.error} />`}
  <//>`;
}
