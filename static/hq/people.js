// The staff: who they are, and new accounts with a password that is shown once.
import { html, cls, useState, useLoad } from "/static/shared/dom.js";
import { t, pick, said } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { Sheet, confirm } from "/static/shared/dialog.js";
import { Button, Field, Spinner } from "/static/shared/parts.js";
import { doors, list } from "/static/login/session.js";
import { useForm, Text, Left } from "/static/login/forms.js";
import { Stuck } from "/static/login/frame.js";
import { copy } from "./links.js";

const ROLES = ["host", "moderator", "clerk", "leader", "owner"];
const placed = (role) => role === "clerk" || role === "leader"; // belong to one store, or to one leader's point
const ACCOUNT = /^[a-z0-9][a-z0-9_.-]{1,31}$/;

function StaffForm({ stores, onMade, onClose }) {
  const form = useForm(
    { account: "", name: "", role: "host", store: stores[0]?.code || "" },
    (v) => ({ account: ACCOUNT.test(v.account.trim().toLowerCase()) ? "" : t("hq.account_hint"), name: v.name.trim() ? "" : t("login.why.empty"), store: !placed(v.role) || v.store ? "" : t("login.why.empty") }),
    async (v) => {
      const body = { account: v.account.trim().toLowerCase(), name: v.name.trim(), role: v.role };
      onMade(await doors.post("/v1/staff", placed(v.role) ? { ...body, store: v.store } : body));
    },
  );
  const { values, set } = form;
  return html`<${Sheet} title=${t("hq.add_staff")} onClose=${onClose} firm foot=${html`<button type="button" class="btn" onClick=${onClose}>${t("hq.cancel")}</button>
    <button type="submit" form="staff-form" class="btn btn-primary" disabled=${form.busy}>${t("hq.add_staff")}</button>`}>
    <form id="staff-form" class="form" onSubmit=${form.submit} novalidate>
      <${Text} label=${t("hq.person_name")} ...${form.bind("name")} maxlength="24" first />
      <${Text} label=${t("login.account")} hint=${t("hq.account_hint")} ...${form.bind("account")} maxlength="32" autocapitalize="none" spellcheck=${false} autocomplete="off" />
      <${Field} label=${t("hq.role")} hint=${t(`hq.role_hint.${values.role}`)} error=${form.error("role")}>
        <select class="input" value=${values.role} onChange=${(event) => set("role", event.target.value)}>${ROLES.map((role) => html`<option key=${role} value=${role}>${t(`login.role.${role}`)}</option>`)}</select><//>
      ${placed(values.role) && html`<${Field} label=${t("hq.store")} error=${form.error("store")}>
        <select class="input" value=${values.store} onChange=${(event) => set("store", event.target.value)}>${stores.map((store) => html`<option key=${store.code} value=${store.code}>${pick(store.name)}</option>`)}</select><//>`}
      <${Left} form=${form} />
    </form>
  <//>`;
}

/** The one time this password is seen: it leaves only by a press on the button. */
function OneTime({ given, onClose }) {
  return html`<${Sheet} title=${t("hq.one_time")} firm foot=${html`<button type="button" class="btn" onClick=${() => copy(given.one_time_password)}>${t("hq.copy")}</button>
    <button type="button" class="btn btn-primary" onClick=${onClose}>${t("hq.noted")}</button>`}>
    <div class="stack"><p class="lead">${t("hq.one_time_lead", { account: given.account })}</p>
      <p class="secret mono" data-secret>${given.one_time_password}</p><p class="note note-warn">${t("hq.one_time_note")}</p></div>
  <//>`;
}

export function People({ you, stores }) {
  const { data, error, again } = useLoad(() => doors.get("/v1/staff"), []);
  const [making, setMaking] = useState(false);
  const [given, setGiven] = useState(null);
  const storeName = (code) => pick(stores.find((one) => one.code === code)?.name) || code || "–";
  const made = (answer) => {
    setMaking(false);
    setGiven(answer);
    again();
  };
  const reset = async (one) => {
    if (!(await confirm({ title: t("hq.reset_title", { name: one.name || one.account }), text: t("hq.reset_text"), yes: t("hq.reset") }))) return;
    try {
      made(await doors.post("/v1/staff/reset", { account: one.account }));
    } catch (refusal) {
      refused(refusal);
    }
  };
  const toggle = async (one) => {
    const name = one.name || one.account;
    if (!one.disabled && !(await confirm({ title: t("hq.disable_title", { name }), text: t("hq.disable_text"), yes: t("hq.disable"), danger: true }))) return;
    try {
      await doors.post("/v1/staff/edit", { account: one.account, disabled: !one.disabled });
      toast(t(one.disabled ? "hq.enabled_done" : "hq.disabled_done", { name }), "good");
    } catch (refusal) {
      refused(refusal);
    }
    again();
  };
  return html`<section aria-labelledby="people">
    <div class="section-head"><h2 id="people">${t("hq.staff")}</h2><button type="button" class="btn btn-primary" onClick=${() => setMaking(true)}>${t("hq.add_staff")}</button></div>
    ${error ? html`<${Stuck} text=${said(error)} again=${again} />` : !data ? html`<${Spinner} />` : html`<div class="card scroll"><table class="table">
      <thead><tr><th>${t("hq.person_name")}</th><th>${t("login.account")}</th><th>${t("hq.role")}</th><th>${t("hq.store")}</th><th></th></tr></thead>
      <tbody>${list(data, "staff").map((one) => html`<tr key=${one.account} class=${cls(one.disabled && "is-off")}><td><b>${one.name || one.account}</b>${one.one_time && html` <span class="chip chip-warn">${t("hq.not_yet_in")}</span>`}${one.disabled && html` <span class="chip">${t("hq.off")}</span>`}</td>
        <td class="mono">${one.account}</td><td>${t(`login.role.${one.role}`)}</td><td>${one.store ? storeName(one.store) : "–"}</td>
        <td class="right nowrap">${one.account !== you.account && html`<${Button} kind="btn-quiet" onPress=${() => reset(one)}>${t("hq.reset")}<//><${Button} kind="btn-quiet" onPress=${() => toggle(one)}>${t(one.disabled ? "hq.enable" : "hq.disable")}<//>`}</td></tr>`)}</tbody></table></div>`}
    ${making && html`<${StaffForm} stores=${stores} onMade=${made} onClose=${() => setMaking(false)} />`}
    ${given && html`<${OneTime} given=${given} onClose=${() => setGiven(null)} />`}
  </section>`;
}
