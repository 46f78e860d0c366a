// The conditions of a coupon: a percentage instead of a sum, for which goods, for whom, good for how long.
import { html } from "/static/shared/dom.js";
import { t, momentOf, typedMoment } from "/static/shared/i18n.js";
import { Field } from "/static/shared/parts.js";
import { Text, Whole, between, toWhole } from "/static/login/forms.js";
import { titleOf, useCatalogue } from "./goods.js";

const HOUR = 3600;
const MOST_HOURS = 8760; // a year
const MOST_MINUTES = 1440; // of a show

export const NO_CONDITIONS = { percent: "", scope: "", category: "", skus: [], audience: "all", watch: "", valid_seconds: "", valid_until: "" };

/** Whether the sum is only the most a percentage may take. */
export const isPercent = (values) => Boolean(String(values.percent).trim());

export function conditionFaults(v) {
  const optional = (text, most) => (String(text).trim() ? between(text, 1, most) : "");
  return {
    percent: optional(v.percent, 99),
    watch: optional(v.watch, MOST_MINUTES),
    valid_seconds: optional(v.valid_seconds, MOST_HOURS),
    valid_until: v.valid_until && String(v.valid_seconds).trim() ? t("login.why.one_end") : "",
    category: v.scope === "category" && !v.category ? t("login.why.empty") : "",
    skus: v.scope === "skus" && !v.skus.length ? t("login.why.empty") : "",
  };
}

/** Settings of a coupon, typed again: the door's seconds, moments and lists as the form holds them. */
export const conditionTyped = ({ category, skus, valid_seconds: seconds, valid_until: until }) => ({
  scope: category ? "category" : skus?.length ? "skus" : "",
  skus: skus || [],
  valid_seconds: seconds ? String(seconds / HOUR) : "",
  valid_until: until ? typedMoment(until) : "",
});

/** As the door takes them: what is not asked for is left out. */
export function conditionBody(v) {
  const body = { audience: v.audience };
  if (isPercent(v)) body.percent = toWhole(v.percent);
  if (v.scope === "category") body.category = v.category;
  if (v.scope === "skus") body.skus = v.skus;
  if (String(v.watch).trim()) body.watch = toWhole(v.watch);
  if (v.valid_until) body.valid_until = momentOf(v.valid_until);
  if (String(v.valid_seconds).trim()) body.valid_seconds = toWhole(v.valid_seconds) * HOUR;
  return body;
}

export function Conditions({ form }) {
  const { values, set, error } = form;
  const { skus } = useCatalogue();
  const goods = skus || [];
  const choice = (name, label, options) => html`<${Field} label=${t(label)} error=${error(name)}>
    <select class="input" value=${values[name]} onChange=${(event) => set(name, event.target.value)}>
      ${options.map(([value, text]) => html`<option key=${value} value=${value} selected=${value === values[name]}>${text}</option>`)}</select><//>`;
  const chosen = (event) => set("skus", [...event.target.selectedOptions].map((one) => one.value));
  return html`<div class="two">
      <${Whole} label=${t("console.percent")} ...${form.bind("percent")} placeholder=${t("console.percent_none")} />
      <${Whole} label=${t("console.valid_hours")} ...${form.bind("valid_seconds")} placeholder=${t("console.valid_always")} />
      <${Text} type="datetime-local" label=${t("console.valid_until")} ...${form.bind("valid_until")} hint=${t("console.valid_until_hint")} />
      <${Whole} label=${t("console.watch")} ...${form.bind("watch")} placeholder=${t("console.watch_none")} hint=${t("console.watch_hint")} />
      ${choice("scope", "console.scope", [["", t("console.scope_all")], ["category", t("console.scope_category")], ["skus", t("console.scope_skus")]])}
      ${choice("audience", "console.audience", [["all", t("console.audience_all")], ["new", t("console.audience_new")]])}
    </div>
    ${values.scope === "category" && choice("category", "console.category", [["", t("console.choose")], ...[...new Set(goods.map((sku) => sku.category))].map((code) => [code, code])])}
    ${values.scope === "skus" && html`<${Field} label=${t("console.scope_which")} hint=${t("console.scope_hint")} error=${error("skus")}>
      <select class="input" multiple size="6" onChange=${chosen}>${goods.map((sku) => html`<option key=${sku.code} value=${sku.code} selected=${values.skus.includes(sku.code)}>${titleOf(sku)}</option>`)}</select><//>`}`;
}
