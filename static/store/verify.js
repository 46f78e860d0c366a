// A code becomes a hand-over in two steps: look at the order, then hand it over. Typed, scanned or read by the camera.
import { html, cls, useState, useEffect, useRef, useNow } from "/static/shared/dom.js";
import { t, has, said, pick, countdown, time } from "/static/shared/i18n.js";
import { Button, Picture } from "/static/shared/parts.js";
import { doors } from "/static/login/session.js";
import { canScan, Camera } from "./camera.js";
import { query } from "./desk.js";

const LONGEST = 64; // characters the server looks at

/** Typed letters become groups of four: XXXX-XXXX-X. What a scanner sends (with its prefix) is left alone. */
export function tidy(text) {
  const plain = text.normalize("NFKC").toUpperCase();
  const bare = plain.replace(/[\s\-‐-―−]/g, "");
  if (!/^[0-9A-Z]{0,9}$/.test(bare)) return plain.slice(0, LONGEST);
  return [bare.slice(0, 4), bare.slice(4, 8), bare.slice(8)].filter(Boolean).join("-");
}

/** Why this code hands nothing over, in the clerk's words. */
export function reason(refusal, stores) {
  const { code, facts = {} } = refusal;
  if (code === "wrong_store") {
    const store = stores.find((one) => one.code === facts.store);
    return t("store.no.wrong_store", { store: store ? pick(store.name) : facts.store || "" });
  }
  if (code === "state") return t(facts.state === "VOID" ? "store.no.void" : "store.no.collected");
  return has(`store.no.${code}`) ? t(`store.no.${code}`) : said(refusal);
}

export function Verify({ store, stores, onDone }) {
  const [code, setCode] = useState("");
  const [seen, setSeen] = useState(null); // {ticket, code}
  const [problem, setProblem] = useState(null); // {text, tone}
  const [given, setGiven] = useState(null); // the ticket just handed over
  const [until, setUntil] = useState(0); // locked out until, epoch ms
  const [busy, setBusy] = useState(false);
  const [scan, setScan] = useState(false);
  const [camera, setCamera] = useState(false);
  const field = useRef(null);
  const unsure = useRef(null); // ticket whose hand-over was sent and not answered
  const locked = until - useNow(500, until > 0) > 0;
  useEffect(() => {
    canScan().then(setCamera);
    if (matchMedia("(hover: hover)").matches) field.current?.focus(); // on a phone the keyboard would cover the queue
  }, []);
  useEffect(() => setSeen(null), [store]);

  const refused = (refusal) => {
    if (refusal.code === "locked_out") {
      setUntil(Date.now() + (refusal.facts.wait || 60) * 1000);
      setProblem(null);
    } else setProblem({ text: reason(refusal, stores), tone: refusal.code === "not_ready" || refusal.retry ? "warn" : "bad" });
  };
  const look = async (text) => {
    const wanted = text.trim();
    if (!wanted || busy || locked) return;
    setBusy(true);
    setProblem(null);
    setGiven(null);
    setSeen(null);
    try {
      const { ticket } = await doors.post(query("/v1/desk/verify", store), { code: wanted.slice(0, LONGEST) });
      setSeen({ ticket, code: wanted });
    } catch (refusal) {
      refused(refusal);
      field.current?.select();
    } finally {
      setBusy(false);
    }
  };
  const handOver = async () => {
    try {
      const { ticket } = await doors.post(query(`/v1/desk/tickets/${seen.ticket.id}/collect`, store), { code: seen.code });
      setGiven({ ...seen.ticket, ...ticket });
      setCode("");
      onDone(ticket);
      unsure.current = null;
    } catch (refusal) {
      if (refusal.code === "offline") unsure.current = seen.ticket.id; // handed over or not: nobody knows until it is asked again
      if (refusal.code === "state" && refusal.facts.state === "COLLECTED" && unsure.current === seen.ticket.id) {
        setGiven(seen.ticket);
        setCode("");
        onDone(seen.ticket);
        unsure.current = null;
      } else {
        refused(refusal);
        if (refusal.code === "offline") return; // what is seen stays, to press again
      }
    }
    setSeen(null);
    field.current?.focus();
  };
  const drop = () => {
    setSeen(null);
    field.current?.focus();
    field.current?.select();
  };
  const scanned = (text) => {
    setScan(false);
    setCode(tidy(text));
    look(text);
  };
  return html`<section class="verify card" aria-labelledby="verify-title">
    <h2 id="verify-title">${t("store.verify")}</h2>
    <form class="verify-form" onSubmit=${(event) => { event.preventDefault(); look(code); }}>
      <label class="sr-only" for="code">${t("store.code")}</label>
      <input id="code" ref=${field} class="input code-input mono" value=${code} disabled=${locked} placeholder="XXXX-XXXX-X" autocomplete="off"
        autocapitalize="characters" spellcheck=${false} enterkeyhint="go" maxlength=${LONGEST} aria-describedby="verify-said"
        onInput=${(event) => { setCode(tidy(event.target.value)); setProblem(null); }} />
      <div class="verify-acts">
        <button class="btn btn-primary grow" disabled=${busy || locked || !code}>${busy && html`<span class="spin"></span>`}${t("store.look")}</button>
        ${camera && html`<button type="button" class="btn" disabled=${locked} onClick=${() => setScan(true)}>${t("store.scan")}</button>`}
      </div>
    </form>
    <div id="verify-said" aria-live="assertive">
      ${locked && html`<p class="note note-bad">${t("store.no.locked_out")} <b class="num">${countdown(until - Date.now())}</b></p>`}
      ${!locked && problem && html`<p class=${cls("note", `note-${problem.tone}`)}>${problem.text}</p>`}
      ${given && html`<div class="handed"><span class="handed-tick" aria-hidden="true">✓</span>
        <div><b>${t("store.handed", { name: given.person_name || t("store.somebody") })}</b><p class="small">${units(given)} · ${time(given.collected_at || Date.now())}</p></div></div>`}
    </div>
    ${seen && html`<${Preview} ticket=${seen.ticket} onYes=${handOver} onNo=${drop} />`}
    ${!seen && !given && !problem && !locked && html`<p class="muted small">${t("store.verify_lead")}</p>`}
    ${scan && html`<${Camera} onCode=${scanned} onClose=${() => setScan(false)} />`}
  </section>`;
}

const units = (ticket) => t("store.units", { n: ticket.lines.reduce((sum, line) => sum + line.qty, 0) });

function Preview({ ticket, onYes, onNo }) {
  return html`<div class="preview">
    <p class="preview-who"><b>${ticket.person_name || t("store.somebody")}</b>
      ${ticket.phone_tail && html`<span class="num muted">${t("store.tail", { tail: ticket.phone_tail })}</span>`}</p>
    <ul class="preview-lines">
      ${ticket.lines.map((line) => html`<li key=${line.sku}><${Picture} src=${line.picture} name=${pick(line.name)} />
        <span class="grow">${pick(line.name)}</span><b class="num preview-qty">× ${line.qty}</b></li>`)}
    </ul>
    <p class="muted tiny num">${t("store.order", { no: ticket.order })}</p>
    <div class="row preview-acts">
      <button type="button" class="btn" onClick=${onNo}>${t("store.not_now")}</button>
      <${Button} kind="btn-primary grow" onPress=${onYes} first>${t("store.hand_over", { n: ticket.lines.reduce((sum, line) => sum + line.qty, 0) })}<//>
    </div>
  </div>`;
}
