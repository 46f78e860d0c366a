// When a flash sale starts: now, in some minutes, or at a time; and the price of one that was opened.
import { html } from "/static/shared/dom.js";
import { t, pick, money, date, momentOf } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Field } from "/static/shared/parts.js";
import { useForm, Text, Whole, Yuan, between, toFen, toWhole, toYuan } from "/static/login/forms.js";
import { FormSheet } from "./open.js";

const DAYS = 7; // the door's limits
const COUNTDOWN = { least: 10, most: 300, usual: "60" };
const MINUTES = 24 * 60 * DAYS;

/** What the form starts with; a show that has not begun can only be planned for. */
export const startValues = (live) => ({ start: live ? "now" : "at", in: "5", at: "", countdown: COUNTDOWN.usual, per_order: "" });

/** The moment meant (epoch ms of the server), null for now, NaN when it cannot be read. `now`: the server's clock. */
function opensOf({ start, in: minutes, at }, now) {
  if (start === "now") return null;
  return start === "in" ? now + toWhole(minutes) * 60_000 : momentOf(at);
}

export function startFaults(values, now) {
  const faults = { per_order: values.per_order ? between(values.per_order, 1, toWhole(values.per_person) || 99) : "" };
  if (values.start === "now") return faults;
  faults.countdown = between(values.countdown, COUNTDOWN.least, COUNTDOWN.most);
  if (values.start === "in") faults.opens = between(values.in, 1, MINUTES);
  else faults.opens = opensOf(values, now) > now && opensOf(values, now) <= now + MINUTES * 60_000 ? "" : t("login.why.future", { a: DAYS });
  return faults;
}

/** The part of the door's body that says when, and how much one order takes. */
export function startBody(values, now) {
  const opens = opensOf(values, now);
  return {
    ...(values.per_order ? { per_order: toWhole(values.per_order) } : {}),
    ...(opens === null ? {} : { opens: Math.round(opens), countdown: toWhole(values.countdown) }),
  };
}

export function Start({ form, live }) {
  const { values, set, bind, error } = form;
  const fault = error("opens");
  return html`<div class="three">
    <${Field} label=${t("console.begins")}><select class="input" value=${values.start} onChange=${(event) => set("start", event.target.value)}>
      ${["now", "in", "at"].map((one) => html`<option key=${one} value=${one} disabled=${one === "now" && !live}>${t(`console.start.${one}`)}</option>`)}</select><//>
    ${values.start === "in" && html`<${Whole} label=${t("console.start_in")} ...${bind("in")} error=${fault} />`}
    ${values.start === "at" && html`<${Text} type="datetime-local" label=${t("console.start_at")} ...${bind("at")} error=${fault} />`}
    ${values.start !== "now" && html`<${Whole} label=${t("console.countdown")} ...${bind("countdown")} hint=${t("console.countdown_hint")} />`}
  </div>`;
}

/** Another time for a planned sale. */
export function ChangeTime({ studio, offer, onClose }) {
  const now = () => studio.room.now();
  const form = useForm({ ...startValues(false), start: "in", countdown: String(offer.countdown) }, (v) => startFaults(v, now()), async (v) => {
    const { opens } = await studio.moveSale(offer.id, startBody(v, now()));
    toast(t("console.moved", { name: pick(offer.name), at: date(opens) }), "good");
    onClose();
  });
  return html`<${FormSheet} title=${t("console.change_time")} form=${form} send=${t("console.change_time_now")} onClose=${onClose}>
    <p class="lead">${pick(offer.name)} · ${date(offer.opens)}</p>
    <${Start} form=${form} live=${false} />
  <//>`;
}

/** Another price for a sale, planned or running. */
export function ChangePrice({ studio, offer, onClose }) {
  const form = useForm(
    { fen: toYuan(offer.fen) },
    (v) => ({ fen: !(toFen(v.fen) > 0) ? t("console.need_price") : toFen(v.fen) === offer.fen ? t("login.why.same_price") : "" }),
    async (v) => {
      await studio.reprice(offer.id, toFen(v.fen));
      toast(t("console.repriced", { name: pick(offer.name), fen: toFen(v.fen) }), "good");
      onClose();
    },
  );
  return html`<${FormSheet} title=${t("console.change_price")} form=${form} send=${t("console.change_price_now")} onClose=${onClose}>
    <p class="lead">${pick(offer.name)} · ${money(offer.fen)}</p>
    <${Yuan} label=${t("console.price")} ...${form.bind("fen")} first hint=${t("console.change_price_hint")} />
  <//>`;
}
