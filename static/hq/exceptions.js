// Payments that contradict the books: what was expected, what the provider said, and the owner's decision about each.
import { html, cls, useState, usePoll } from "/static/shared/dom.js";
import { t, said, money } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { Sheet, confirm } from "/static/shared/dialog.js";
import { Button, Spinner } from "/static/shared/parts.js";
import { doors } from "/static/login/session.js";
import { Stuck } from "/static/login/frame.js";
import { useForm, Text, Left, maybe } from "/static/login/forms.js";

const PATH = "/v1/payments/exceptions";
const EVERY = 10_000; // ms; a person decides, nothing hurries
const STILL = { wrong_amount: "wrong_amount", refunded_elsewhere: "refunded_elsewhere", agrees: "agrees", waiting: "waiting" };

/** What is known of a payment: {state, fen, transaction} or {refund, fen, total}, or whatever else was said. */
function Facts({ facts }) {
  const shown = (name, value) => (name === "fen" || name === "total" ? money(value) : String(value));
  const known = Object.entries(facts).filter(([, value]) => value !== null && value !== "");
  if (!known.length) return html`<span class="muted">–</span>`;
  return html`${known.map(([name, value]) => html`<span key=${name} class="small"><span class="muted">${maybe(`hq.exception.fact.${name}`, name)}</span> <b class="num url">${shown(name, value)}</b> </span>`)}`;
}

function NoteSheet({ one, decide, onClose }) {
  const form = useForm({ note: "" }, (v) => ({ note: v.note.trim() ? "" : t("login.why.empty") }), async (v) => {
    await decide("note", { note: v.note });
    onClose();
  });
  return html`<${Sheet} title=${t("hq.exception.note")} onClose=${onClose} firm foot=${html`
    <button type="button" class="btn" onClick=${onClose}>${t("console.cancel")}</button>
    <button type="submit" form="note-form" class="btn btn-primary" disabled=${form.busy}>${t("hq.exception.note")}</button>`}>
    <form id="note-form" class="form" onSubmit=${form.submit} novalidate>
      <p class="small">${t("hq.exception.note_what", { trade: one.trade })}</p>
      <${Text} label=${t("hq.exception.note_label")} maxlength="200" autocomplete="off" ...${form.bind("note")} first />
      <${Left} form=${form} /></form>
  <//>`;
}

function Exception({ one, again }) {
  const [noting, set] = useState(false);
  const may = new Set(one.may);
  const decide = async (verb, body = {}) => {
    await doors.post(`${PATH}/${one.id}/${verb}`, body);
    toast(t(`hq.exception.done.${verb}`), "good");
    again();
  };
  const press = (verb) => async () => {
    const facts = { fen: one.told.fen || 0, trade: one.trade };
    if (!(await confirm({ title: t(`hq.exception.${verb}`), text: t(`hq.exception.${verb}_text`, facts), yes: t(`hq.exception.${verb}`) }))) return;
    try {
      await decide(verb);
    } catch (refusal) {
      const still = refusal.code === "state" && STILL[refusal.facts.state];
      if (still) toast(t(`hq.exception.still.${still}`), "bad");
      else refused(refusal);
      again();
    }
  };
  return html`<li class="card stack exception">
    <div class="row between row-wrap"><b>${maybe(`hq.exception.verdict.${one.verdict}`, one.verdict)}</b>
      <span class=${cls("chip", one.state === "OPEN" ? "chip-bad" : "chip-good")}>${t(`hq.exception.state.${one.state}`)}</span></div>
    <p class="small num url">${one.order ? t("hq.exception.order", { order: one.order, state: maybe(`order.${one.order_state}`, one.order_state || "–") }) : t("hq.exception.no_order")} · ${one.trade}</p>
    <p><span class="small">${t("hq.exception.expected")}:</span> <${Facts} facts=${one.expected} /></p>
    <p><span class="small">${t("hq.exception.told")}:</span> <${Facts} facts=${one.told} /></p>
    <p class="tiny muted num">${t("hq.exception.seen", { at: one.at, last: one.last_at, n: one.times })}</p>
    ${one.refund && html`<p class="small num">${t("hq.exception.refund_of", { fen: one.refund.fen })} · ${maybe(`console.refund.${one.refund.state}`, one.refund.state)}</p>`}
    ${one.decided_at !== null && html`<p class="small">${one.by === null ? t("hq.exception.healed", { at: one.decided_at }) : t("hq.exception.by", { by: one.by, at: one.decided_at })}${one.note && ` · ${one.note}`}</p>`}
    ${may.size > 0 && html`<div class="row row-wrap">
      ${may.has("refund") && html`<${Button} kind="btn-soft" onPress=${press("refund")}>${t("hq.exception.refund")}<//>`}
      ${may.has("accept") && html`<${Button} kind="btn-soft" onPress=${press("accept")}>${t("hq.exception.accept")}<//>`}
      ${may.has("note") && html`<${Button} kind="btn-quiet" onPress=${() => set(true)}>${t("hq.exception.note")}<//>`}</div>`}
    ${noting && html`<${NoteSheet} one=${one} decide=${decide} onClose=${() => set(false)} />`}
  </li>`;
}

/** Money nobody asked for and that did not get back to its payer. */
function FailedRefund({ one, again }) {
  const send = async () => {
    try {
      await doors.post(`/v1/payments/refunds/${one.id}/again`, {});
      toast(t("hq.exception.refund_sent"), "good");
    } catch (refusal) {
      refused(refusal);
    }
    again();
  };
  return html`<li class="card stack exception">
    <div class="row between row-wrap"><b>${t(`hq.exception.failed.${one.cause}`, { fen: one.fen })}</b><span class="chip chip-bad">${t("hq.exception.refund_failed")}</span></div>
    <p class="small num url">${t("hq.exception.order", { order: one.order, state: maybe(`order.${one.order_state}`, one.order_state) })} · ${one.trade}</p>
    <p class="tiny muted num">${t("hq.exception.since", { at: one.at })}</p>
    <div class="row row-wrap"><${Button} kind="btn-soft" onPress=${send}>${t("hq.exception.refund_again")}<//></div>
  </li>`;
}

export function Exceptions() {
  const { data, error, again } = usePoll(() => doors.get(PATH), [], EVERY);
  if (error && !data) return html`<${Stuck} text=${said(error)} again=${again} />`;
  if (!data) return html`<${Spinner} />`;
  const open = data.open + data.refunds.length;
  return html`<section class="exceptions" aria-labelledby="exceptions">
    <div class="section-head"><h2 id="exceptions">${t("hq.exceptions")}</h2>${open > 0 && html`<span class="chip chip-bad num">${t("hq.drifts_open", { n: open })}</span>`}</div>
    <p class="small muted">${t("hq.exceptions_lead")}</p>
    ${error && html`<p class="note note-warn" role="status">${said(error)}</p>`}
    ${data.refunds.length > 0 && html`<ul class="cards failed">${data.refunds.map((one) => html`<${FailedRefund} key=${one.id} one=${one} again=${again} />`)}</ul>`}
    ${data.exceptions.length === 0 && data.refunds.length === 0 && html`<p class="card small muted">${t("hq.exceptions_none")}</p>`}
    ${data.exceptions.length > 0 && html`<ul class="cards">${data.exceptions.map((one) => html`<${Exception} key=${one.id} one=${one} again=${again} />`)}</ul>`}
  </section>`;
}
