// Forms of the staff pages: values, faults beside their fields, and what a typed refusal says about a field.
import { html, cls, useState, useRef } from "/static/shared/dom.js";
import { t, has, said } from "/static/shared/i18n.js";
import { Field } from "/static/shared/parts.js";
import { newKey } from "/static/sdk/tap.js";

/** "12.5" → 1250; null when it is not an amount of yuan. */
export function toFen(text) {
  const found = /^(\d{1,7})(?:[.](\d{1,2}))?$/.exec(String(text).normalize("NFKC").replace(/[¥\s,]/g, ""));
  return found ? Number(found[1]) * 100 + Number((found[2] || "").padEnd(2, "0")) : null;
}

/** 1250 → "12.50", 1200 → "12": what stands in an input. */
export const toYuan = (fen) => (fen % 100 ? (fen / 100).toFixed(2) : String(fen / 100));

/** "12" → 12; null when it is not a whole number of at most seven digits. */
export function toWhole(text) {
  const plain = String(text).normalize("NFKC").trim();
  return /^\d{1,7}$/.test(plain) ? Number(plain) : null;
}

/** "" when it is a whole number from `least` to `most`, else the sentence that says so. */
export function between(text, least, most) {
  const number = toWhole(text);
  return number !== null && number >= least && number <= most ? "" : t("login.why.between", { a: least, b: most });
}

// What the server's checks are called or say → the key of our text. Groups of the pattern become {a}, {b}.
const WHY = [
  [/^missing$|^string_too_short$|^empty$/, "empty"],
  [/^string_too_long$|^more than (\d+) characters$/, "too_long"],
  [/^fewer than (\d+) characters$/, "too_few"],
  [/^is the (?:account|old one)$/, "other_one"],
  [/^string_pattern_mismatch$|^a code is|^2 to 32 of/, "pattern"],
  [/belongs to a store/, "empty"],
  [/^(?:int|float|bool|decimal)_(?:type|parsing|from_float)$|^not a (?:number|price)|^not a whole number/, "number"],
  [/^must be (-?\d+) to (\d+)(?: fen)?$/, "between"],
  [/^greater_than|^less_than/, "range"],
  [/^(?:taken|exists|.*already (?:taken|exists|there).*)$/, "taken"],
  [/less than the threshold/, "below_threshold"],
  [/above the mean share/, "above_mean"],
  [/^cannot be said in the room/, "unsayable"],
  [/more than the step before/, "rising"],
  [/less than the step before/, "falling"],
  [/must not be more than the stock/, "above_stock"],
  [/1 to the size of the group/, "within_size"],
  [/at least one unit|every quantity must be above 0|must be above 0|not above 0/, "above_zero"],
  [/shop'?s? (?:own )?price/, "above_shop_price"],
  [/column is missing/, "column_missing"],
  [/column is there twice/, "column_twice"],
  [/unknown store/, "unknown_store"],
  [/unknown column/, "unknown_column"],
  [/^(\d+) cells instead of (\d+)/, "cells"],
  [/^begins with/, "formula"],
  [/invisible character/, "invisible"],
  [/not a path under/, "path"],
  [/^no rows$/, "no_rows"],
  [/^below the (\d+) that shows/, "ring_fenced"],
  [/^more than (\d+) rows/, "too_many_rows"],
  [/decimals|decimal places/, "decimals"],
  [/^have (\d+)$/, "have"],
  [/^must be in the future, within (\d+) days$/, "future"],
  [/^a length or a moment, not both$/, "one_end"],
  [/^must be a minute after the last claim/, "after_claims"],
  [/^is its time already$/, "same_time"],
  [/^is its price already$/, "same_price"],
  [/^no such |^unknown /, "unknown"],
];

/** A server's `why` in the language of the page; what is not known is shown as it came. */
export function whyText(why = "") {
  for (const [pattern, key] of WHY) {
    const found = pattern.exec(why);
    if (found) return t(`login.why.${key}`, { a: found[1] ?? "", b: found[2] ?? "", have: found[1] ?? "" });
  }
  return t("login.why.other", { why });
}

/** A refusal as {field: text}; what belongs to no field stands under "". */
export function faultsOf(refusal) {
  const { field, why, location, have, state } = refusal.facts || {};
  if (refusal.code === "not_enough_stock") return { [location ? `stock.${location}` : "stock"]: t("login.why.have", { have: have ?? 0 }) };
  if (refusal.code === "state" && state === "exists" && field) return { [field]: t("login.why.taken") };
  if (refusal.code === "not_found" && field) return { [field]: t("login.why.unknown") };
  if (refusal.code === "bad_request" && field) return { [field]: whyText(why) };
  if (refusal.code === "key_reused") return { "": t("login.why.key_reused") };
  return { "": said(refusal) };
}

/** Where `error` of a field stands although the form has no such input: it must not vanish. */
function spare(errors, shown) {
  return Object.entries(errors).filter(([name, text]) => text && !shown.has(name)).map(([, text]) => text);
}

/**
 * `check(values)` gives faults {field: text}; `send(values)` may throw an ApiRefusal, whose facts become faults.
 * Returns {values, errors, busy, set(name, value), bind(name), submit, left()}; `left()` are faults no input has shown.
 */
export function useForm(start, check, send) {
  const [values, setValues] = useState(start);
  const [errors, setErrors] = useState({});
  const [busy, setBusy] = useState(false);
  const going = useRef(false);
  const key = useRef(null); // sent again with the same form: what a lost answer did is not done twice
  const shown = new Set();
  const set = (name, value) => {
    setValues((was) => ({ ...was, [name]: value }));
    setErrors((was) => ({ ...was, [name]: undefined, "": undefined }));
  };
  const submit = async (event) => {
    event?.preventDefault();
    if (going.current) return;
    const faults = check(values);
    setErrors(faults);
    if (Object.values(faults).some(Boolean)) return;
    going.current = true;
    setBusy(true);
    try {
      await send(values, (key.current ||= newKey()));
    } catch (refusal) {
      if (!refusal.code) throw refusal;
      if (refusal.code === "key_reused") key.current = null; // told that the first was done; pressed once more, this one is meant
      setErrors(faultsOf(refusal));
    } finally {
      going.current = false;
      setBusy(false);
    }
  };
  const error = (name) => {
    shown.add(name);
    return errors[name];
  };
  const bind = (name) => ({ value: values[name], error: error(name), onInput: (value) => set(name, value) });
  return { values, errors, busy, set, bind, error, submit, left: () => spare(errors, shown), setErrors };
}

/** A labelled text input. `lead`/`tail`: a sign inside its edges (¥, 件). The rest goes to the input. */
export function Text({ label, hint, error, value, onInput, lead, tail, first, ...rest }) {
  return html`<${Field} label=${label} hint=${hint} error=${error}>
    <span class=${cls("boxed", lead && "boxed-lead", tail && "boxed-tail")}>
      ${lead && html`<span class="boxed-sign" aria-hidden="true">${lead}</span>`}
      <input ...${rest} class="input" value=${value} data-first=${first || undefined} aria-invalid=${Boolean(error)}
        onInput=${(event) => onInput(event.target.value)} />
      ${tail && html`<span class="boxed-sign boxed-sign-tail" aria-hidden="true">${tail}</span>`}
    </span>
  <//>`;
}

/** An amount in yuan, as typed. */
export const Yuan = (props) => html`<${Text} lead="¥" inputmode="decimal" autocomplete="off" maxlength="10" ...${props} />`;

/** A whole number, as typed. */
export const Whole = (props) => html`<${Text} inputmode="numeric" autocomplete="off" maxlength="7" ...${props} />`;

/** What is wrong and belongs to no field of the form. */
export function Left({ form }) {
  const texts = form.left();
  return texts.length ? html`<div class="note note-bad" role="alert">${texts.map((text) => html`<p key=${text}>${text}</p>`)}</div>` : null;
}

/** Text of a key that may be missing. */
export const maybe = (key, other) => (has(key) ? t(key) : other);
