// Staff login: account and password; a one-time password must be changed before anything else; then back to ?next=.
import { html, render, useState, useNow } from "/static/shared/dom.js";
import { load, t, useLang, countdown } from "/static/shared/i18n.js";
import { staff } from "/static/shared/api.js";
import { Button, LangSwitch } from "/static/shared/parts.js";
import { home, ownPath, perhaps, remember } from "./session.js";
import { useForm, Text, Left } from "./forms.js";
import { Mark } from "./frame.js";

const LEAST = 10; // characters; the server has the last word

function onward(you) {
  location.replace(ownPath(new URLSearchParams(location.search).get("next")) || home(you.role));
}

/** Shown or hidden at will: a long password typed blind is a short password. */
function Password({ label, hint, error, value, onInput, complete, first }) {
  const [open, set] = useState(false);
  return html`<div class="with-peek">
    <${Text} label=${label} hint=${hint} error=${error} value=${value} onInput=${onInput} type=${open ? "text" : "password"}
      autocomplete=${complete} autocapitalize="none" spellcheck=${false} maxlength="128" first=${first} />
    <button type="button" class="peek peek-btn" aria-pressed=${open} onClick=${() => set(!open)}>${t(open ? "login.hide" : "login.peek")}</button>
  </div>`;
}

function SignIn({ done, change }) {
  const [until, lock] = useState(0); // epoch ms
  const left = until - useNow(500, until > 0);
  const form = useForm(
    { account: "", password: "" },
    ({ account, password }) => ({ account: account.trim() ? "" : t("login.need_account"), password: password ? "" : t("login.need_password") }),
    async ({ account, password }) => {
      try {
        const answer = await staff.post("/v1/staff/login", { account: account.trim(), password });
        remember(true);
        if (answer.password_change) change(password);
        else done(answer.you);
      } catch (refusal) {
        if (refusal.code !== "locked_out") throw refusal;
        lock(Date.now() + (refusal.facts.wait || 60) * 1000);
      }
    },
  );
  const locked = left > 0;
  return html`<form class="form" onSubmit=${form.submit} novalidate>
    <${Text} label=${t("login.account")} ...${form.bind("account")} autocomplete="username" autocapitalize="none" spellcheck=${false} maxlength="64" autofocus />
    <${Password} label=${t("login.password")} complete="current-password" ...${form.bind("password")} />
    ${locked
      ? html`<p class="note note-warn" role="status">${t("login.locked")} <b class="num">${countdown(left)}</b></p>`
      : html`<${Left} form=${form} />`}
    <${Button} type="submit" kind="btn-primary btn-block" disabled=${locked || form.busy}>${t(form.busy ? "login.signing_in" : "login.sign_in")}<//>
  </form>`;
}

/** `old`: the one-time password just typed; asked for when the page was opened anew. */
function ChangePassword({ old, done }) {
  const form = useForm(
    { old: old || "", fresh: "", again: "" },
    ({ old: given, fresh, again }) => ({
      old: given ? "" : t("login.need_password"),
      fresh: [...fresh].length < LEAST ? t("login.too_short", { n: LEAST }) : fresh === given ? t("login.same") : "",
      again: fresh === again ? "" : t("login.differs"),
    }),
    async ({ old: given, fresh }) => {
      try {
        done((await staff.post("/v1/staff/password", { old: given, new: fresh })).you);
      } catch (refusal) {
        if (refusal.facts?.field === "new") refusal.facts.field = "fresh";
        throw refusal;
      }
    },
  );
  return html`<form class="form" onSubmit=${form.submit} novalidate>
    ${!old && html`<${Password} label=${t("login.one_time")} complete="current-password" ...${form.bind("old")} />`}
    <${Password} label=${t("login.new_password")} hint=${t("login.new_hint", { n: LEAST })} complete="new-password" ...${form.bind("fresh")} />
    <${Password} label=${t("login.new_again")} complete="new-password" ...${form.bind("again")} />
    <${Left} form=${form} />
    <${Button} type="submit" kind="btn-primary btn-block" disabled=${form.busy}>${t("login.set_password")}<//>
  </form>`;
}

function Page({ mustChange }) {
  useLang();
  const [change, setChange] = useState(mustChange ? { old: "" } : null);
  return html`
    <div class="login-top"><${LangSwitch} /></div>
    <section class="login">
      <div class="login-head">
        <${Mark} size=${40} />
        <h1>${t(change ? "login.change_title" : "login.title")}</h1>
        <p>${t(change ? "login.change_lead" : "login.lead")}</p>
      </div>
      ${change ? html`<${ChangePassword} old=${change.old} done=${onward} />` : html`<${SignIn} done=${onward} change=${(old) => setChange({ old })} />`}
    </section>
    <p class="login-foot">${document.body.dataset.demo ? t("login.demo") : t("login.foot")}</p>`;
}

async function start() {
  await load({ staff: true });
  let mustChange = false;
  try {
    if (perhaps()) return onward((await staff.get("/v1/staff/me")).you);
  } catch (refusal) {
    mustChange = refusal.code === "password_change"; // anything else: not signed in, or the form will say what is wrong
    remember(mustChange);
  }
  document.title = t("login.title");
  render(html`<${Page} mustChange=${mustChange} />`, document.getElementById("app"));
  return undefined;
}

start();
