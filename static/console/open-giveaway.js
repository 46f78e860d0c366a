// Dropping a red packet and opening a draw, and the draws that run. What is checked here is checked by the server again.
import { html, cls } from "/static/shared/dom.js";
import { t, pick } from "/static/shared/i18n.js";
import { refused } from "/static/shared/toast.js";
import { Button, Countdown, Field } from "/static/shared/parts.js";
import { useForm, Text, Whole, Yuan, toFen, toWhole } from "/static/login/forms.js";
import { FormSheet, withMinutes } from "./open.js";
import { Minutes, minutesFault } from "./goods.js";

/** One of a few, as buttons. */
function Choice({ label, name, form, options }) {
  return html`<div class="field"><span class="field-label">${label}</span><div class="seg" role="group" aria-label=${label}>${options.map((one) => html`<button key=${one} type="button" aria-pressed=${form.values[name] === one}
    class=${cls(form.values[name] === one && "seg-on")} onClick=${() => form.set(name, one)}>${t(`console.${name}.${one}`)}</button>`)}</div></div>`;
}

const optionalFen = (text) => (text ? toFen(text) : 0);

export function OpenPacket({ studio, onClose }) {
  const sum = (v) => (v.currency === "points" ? toWhole(v.sum) : toFen(v.sum));
  const form = useForm(
    { currency: "points", sum: "", shares: "50", threshold: "", word: "", minutes: "5", ...studio.typed },
    (v) => ({
      sum: sum(v) >= toWhole(v.shares) && sum(v) > 0 ? "" : t("console.packet_small"),
      shares: toWhole(v.shares) >= 1 ? "" : t("login.why.above_zero"),
      threshold: optionalFen(v.threshold) === null ? t("login.why.number") : "",
      minutes: minutesFault(v.minutes),
    }),
    async (v, key) => {
      const coupon = v.currency === "coupon";
      await studio.open("packets", withMinutes({ currency: v.currency, sum: sum(v), shares: toWhole(v.shares), threshold: coupon ? optionalFen(v.threshold) : 0, word: v.word.trim() }, v.minutes), key);
      studio.opened(t("console.packet_opened"));
      onClose();
    },
  );
  const coupon = form.values.currency === "coupon";
  return html`<${FormSheet} title=${t("console.open_packet")} form=${form} send=${t("console.drop_now")} onClose=${onClose}>
    <${Choice} label=${t("console.packet_of")} name="currency" form=${form} options=${["points", "coupon"]} />
    <div class="two">
      ${coupon ? html`<${Yuan} label=${t("console.packet_sum")} ...${form.bind("sum")} first />` : html`<${Whole} label=${t("console.packet_sum")} ...${form.bind("sum")} first />`}
      <${Whole} label=${t("console.packet_shares")} ...${form.bind("shares")} />
      ${coupon && html`<${Yuan} label=${t("console.threshold")} ...${form.bind("threshold")} placeholder=${t("console.any_order")} />`}
      <${Text} label=${t("console.packet_word")} hint=${t("console.packet_word_hint")} maxlength="20" autocomplete="off" ...${form.bind("word")} />
    </div>
    <${Minutes} value=${form.values.minutes} error=${form.error("minutes")} onInput=${(text) => form.set("minutes", text)} />
  <//>`;
}

/** What is drawn: what must be filled in, and what is sent. */
const PRIZES = {
  text: {
    faults: (v) => ({ prize_zh: v.prize_zh.trim() ? "" : t("login.why.empty"), prize_en: v.prize_en.trim() ? "" : t("login.why.empty") }),
    body: (v) => ({ prize_zh: v.prize_zh, prize_en: v.prize_en }),
  },
  coupon: { faults: (v) => ({ off: toFen(v.off) > 0 ? "" : t("console.need_price") }), body: (v) => ({ off: toFen(v.off), threshold: optionalFen(v.threshold) }) },
  points: { faults: (v) => ({ points: toWhole(v.points) >= 1 ? "" : t("login.why.above_zero") }), body: (v) => ({ points: toWhole(v.points) }) },
};

export function OpenDraw({ studio, onClose }) {
  const form = useForm(
    { prize: "text", prize_zh: "", prize_en: "", off: "", threshold: "", points: "", winners: "1", entry: "comment", word: "", minutes: "5", ...studio.typed },
    (v) => ({
      ...PRIZES[v.prize].faults(v),
      threshold: optionalFen(v.threshold) === null ? t("login.why.number") : "",
      winners: toWhole(v.winners) >= 1 ? "" : t("login.why.above_zero"),
      word: v.entry !== "comment" || v.word.trim() ? "" : t("login.why.empty"),
      minutes: v.minutes ? minutesFault(v.minutes) : t("login.why.empty"),
    }),
    async (v, key) => {
      await studio.open("draws", { ...PRIZES[v.prize].body(v), winners: toWhole(v.winners), entry: v.entry, word: v.entry === "comment" ? v.word : "", minutes: toWhole(v.minutes) }, key);
      studio.opened(t("console.draw_opened"));
      onClose();
    },
  );
  const { values } = form;
  return html`<${FormSheet} title=${t("console.open_draw")} form=${form} send=${t("console.open_now")} onClose=${onClose}>
    <${Choice} label=${t("console.prize")} name="prize" form=${form} options=${Object.keys(PRIZES)} />
    <div class="two">
      ${values.prize === "text" ? html`<${Text} label=${t("console.prize_zh")} maxlength="60" ...${form.bind("prize_zh")} first /><${Text} label=${t("console.prize_en")} maxlength="60" ...${form.bind("prize_en")} />`
        : values.prize === "points" ? html`<${Whole} label=${t("console.prize_points")} hint=${t("console.prize_points_hint")} ...${form.bind("points")} first />`
        : html`<${Yuan} label=${t("console.off")} ...${form.bind("off")} first /><${Yuan} label=${t("console.threshold")} ...${form.bind("threshold")} placeholder=${t("console.any_order")} />`}
      <${Whole} label=${t("console.draw_winners")} ...${form.bind("winners")} />
    </div>
    <${Choice} label=${t("console.draw_entry")} name="entry" form=${form} options=${["comment", "order", "follow"]} />
    ${values.entry === "comment" && html`<${Text} label=${t("console.draw_word")} hint=${t("console.draw_word_hint")} maxlength="20" autocomplete="off" ...${form.bind("word")} />`}
    ${values.entry === "follow" && html`<p class="small muted">${t("console.draw_follow_hint")}</p>`}
    <${Field} label=${t("console.draw_minutes")} error=${form.error("minutes")}><input class="input" inputmode="numeric" value=${values.minutes} onInput=${(event) => form.set("minutes", event.target.value)} /><//>
  <//>`;
}

/** The draws of the room, those that can be entered with a way to close them. */
export function Draws({ studio, may }) {
  const draws = [...studio.room.state].filter(([key]) => key.startsWith("draw:")).map(([, view]) => view).sort((a, b) => b.id - a.id);
  const close = (id) => studio.closeDraw(id).catch(refused);
  return draws.length > 0 && html`<ul class="console-draws">${draws.map((one) => html`<li key=${one.id} class="row between console-draw">
    <span class="grow"><span class="tag tag-coupon">${t("console.draw")}</span> <b>${pick(one.prize)}</b> <span class="small muted num">× ${one.winners} · ${one.entry === "comment" ? t("console.draw_says", { word: one.word }) : t(`console.entry.${one.entry}`)}</span></span>
    ${one.phase === "drawn" ? html`<span class="small">${t("console.drawn", { n: one.entrants, names: one.won.map((winner) => winner.name).join(" ") || "–" })}</span>`
      : one.closes <= studio.room.now() ? html`<span class="small muted">${t("console.drawing")}</span>`
        : html`<span class="row"><${Countdown} until=${one.closes} skew=${studio.room.skew} />${may.run && html`<${Button} kind="btn-sm" onPress=${() => close(one.id)}>${t("console.draw_close")}<//>`}</span>`}
  </li>`)}</ul>`;
}
