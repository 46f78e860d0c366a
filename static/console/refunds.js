// Money asked back: grant or decline. Granting is asked twice, since it cannot be taken back.
import { html, cls } from "/static/shared/dom.js";
import { t, pick, money, time } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { confirm } from "/static/shared/dialog.js";
import { Button } from "/static/shared/parts.js";
import { maybe } from "/static/login/forms.js";
import { OwedAll } from "./owed.js";

export const OPEN = "REQUESTED";
const TONE = { DECLINED: "", DONE: "chip-good", FAILED: "chip-bad" };
const RECENT = 10; // settled ones shown below the open ones

function Refund({ studio, refund, may }) {
  const answer = (verb) => async () => {
    const granting = verb === "grant";
    const yes = await confirm({
      title: t(granting ? "console.grant_title" : "console.decline_title", { fen: refund.fen }),
      text: t(granting ? "console.grant_text" : "console.decline_text", { name: refund.person_name || t("console.guest"), fen: refund.fen }),
      yes: t(granting ? "console.grant" : "console.decline"),
      danger: !granting,
    });
    if (!yes) return;
    try {
      await studio.answerRefund(refund.id, verb);
      toast(t(granting ? "console.granted" : "console.declined"), "good");
    } catch (refusal) {
      refused(refusal);
      studio.askRefunds();
    }
  };
  return html`<li class="refund">
    <div class="row between"><b class="ellipsis">${refund.person_name || t("console.guest")}</b><b class="num">${money(refund.fen)}</b></div>
    <p class="small muted">${(refund.lines || []).map((line) => `${pick(line.name)} × ${line.qty}`).join(t("console.comma"))}</p>
    ${refund.reason && html`<p class="small refund-why">${refund.reason}</p>`}
    <p class="tiny muted num">${refund.order} · ${time(refund.created)}</p>
    ${refund.state === OPEN
      ? may.run && html`<div class="row refund-acts"><${Button} kind="btn-sm grow" onPress=${answer("decline")}>${t("console.decline")}<//>
          <${Button} kind="btn-sm btn-soft grow" onPress=${answer("grant")}>${t("console.grant")}<//></div>`
      : html`<span class=${cls("chip", TONE[refund.state])}>${maybe(`console.refund.${refund.state}`, refund.state)}</span>`}
  </li>`;
}

export function Refunds({ studio, may }) {
  const open = studio.refunds.filter((one) => one.state === OPEN);
  const rest = studio.refunds.filter((one) => one.state !== OPEN).slice(0, RECENT);
  return html`<section class="panel refunds" aria-label=${t("console.refunds")}>
    <div class="panel-head"><h2>${t("console.refunds")} ${open.length > 0 && html`<span class="chip chip-accent num">${open.length}</span>`}</h2></div>
    <div class="panel-body">
      <${OwedAll} studio=${studio} may=${may} />
      ${!open.length && !rest.length && !studio.owed.length && !studio.unpaid.length && html`<p class="muted small panel-none">${t("console.no_refunds")}</p>`}
      <ul class="refund-list">${[...open, ...rest].map((one) => html`<${Refund} key=${one.id} studio=${studio} refund=${one} may=${may} />`)}</ul>
    </div>
  </section>`;
}
