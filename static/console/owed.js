// What groups owe their buyers, going back: how far it is, and what the provider did not carry out.
import { html, cls } from "/static/shared/dom.js";
import { t, pick, money } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { Bar, Button } from "/static/shared/parts.js";
import { maybe } from "/static/login/forms.js";

/** Whether some of it has neither gone back nor failed. */
export const going = (one) => one.done + one.failed < one.total;

const state = (one) => (going(one) ? "going" : one.failed ? "stuck" : "done");

/** One offer's: `name` where it stands alone. */
export function Owed({ one, name }) {
  const counts = { done: one.done, total: one.total };
  return html`<div class="owed" role="status">
    <div class="row between small"><span class="ellipsis">${name && html`<b>${name}</b> · `}${maybe(`console.owed.${one.cause}`, one.cause)}</span>
      <span class=${cls("chip", { done: "chip-good", stuck: "chip-bad" }[state(one)])}>${t(`console.owed.${state(one)}`)}</span></div>
    <${Bar} size=${one.total} solid=${one.done} label=${t("console.owed.bar", counts)} />
    <p class="small num">${t("console.owed.count", counts)} <span class="muted">${money(one.done_fen)} / ${money(one.fen)}</span>
      ${one.failed > 0 && html` <b class="owed-failed">${t("console.owed.failed", { n: one.failed })}</b>`}</p>
  </div>`;
}

function Unpaid({ studio, refund, may }) {
  const again = async () => {
    try {
      await studio.answerRefund(refund.id, "grant");
      toast(t("console.unpaid.sent"), "good");
    } catch (refusal) {
      refused(refusal);
      studio.askRefunds();
    }
  };
  return html`<li class="refund">
    <div class="row between"><b class="ellipsis">${refund.person_name || t("console.guest")}</b><b class="num">${money(refund.fen)}</b></div>
    <p class="tiny muted num">${refund.order}</p>
    ${may.run && html`<div class="row refund-acts"><${Button} kind="btn-sm btn-soft grow" onPress=${again}>${t("console.unpaid.again")}<//></div>`}
  </li>`;
}

export function OwedAll({ studio, may }) {
  const names = new Map(studio.offers().map((one) => [one.id, pick(one.name)]));
  return html`${studio.owed.map((one) => html`<${Owed} key=${`${one.offer}:${one.cause}`} one=${one} name=${names.get(one.offer)} />`)}
    ${studio.unpaid.length > 0 && html`<div class="unpaid"><h3>${t("console.unpaid.title", { n: studio.unpaidCount })}</h3>
      <p class="small">${t("console.unpaid.what")}</p>
      <ul class="refund-list">${studio.unpaid.map((one) => html`<${Unpaid} key=${one.id} studio=${studio} refund=${one} may=${may} />`)}</ul></div>`}`;
}
