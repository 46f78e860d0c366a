// Who is this? Asked once, before the first buy or claim. Inside WeChat the login has usually happened before.
import { html, useEffect, useState, useNow } from "../shared/dom.js";
import { t, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Field } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";

const QUIET = 60_000; // ms before another code may be asked for: the norm of text-message providers
const PHONE = /^1[3-9]\d{9}$/; // mainland mobile numbers

/** A number nobody has, for trying the demo: 1380000 and four digits. */
const demoPhone = () => `1380000${String(Math.floor(Math.random() * 10000)).padStart(4, "0")}`;

export function Identify({ shop, then, onClose }) {
  const [phone, setPhone] = useState(() => (shop.demo ? demoPhone() : ""));
  const [code, setCode] = useState("");
  const [sent, setSent] = useState(null); // {at, demo: whether the code came with the answer}
  const [bad, setBad] = useState({});
  const now = useNow(1000, Boolean(sent));
  const rest = sent ? Math.ceil((sent.at + QUIET - now) / 1000) : 0;

  const ask = async () => {
    if (!PHONE.test(phone)) return setBad({ phone: t("login.person.bad_phone") });
    try {
      const answer = await viewer.phoneCode(phone);
      setSent({ at: Date.now(), demo: Boolean(answer.demo_code) });
      setBad({});
      if (answer.demo_code) setCode(answer.demo_code);
    } catch (refusal) {
      setBad({ phone: said(refusal) });
    }
    return undefined;
  };
  useEffect(() => {
    if (shop.demo) ask();
  }, []);
  const go = async (event) => {
    event?.preventDefault();
    if (!sent) return ask(); // Enter in the first field
    try {
      await viewer.phone(phone, code.trim());
    } catch (refusal) {
      setBad({ code: said(refusal) });
      return undefined;
    }
    if (!then) shop.note(t("login.person.done"), "good");
    onClose();
    then?.();
    return undefined;
  };

  return html`<${Sheet} title=${t("login.person.title")} onClose=${onClose}
    foot=${html`<${Button} kind="btn-primary btn-block" disabled=${!sent || code.trim().length < 4} onPress=${go}>${t("login.person.go")}<//>`}>
    <form class="stack" onSubmit=${go}>
      <p class="lead small">${t("login.person.why")}</p>
      <${Field} label=${t("login.person.phone")} error=${bad.phone} hint=${shop.demo && t("login.person.demo_phone")}>
        <input type="tel" inputmode="numeric" autocomplete="tel-national" maxlength="11" data-first value=${phone} onInput=${(event) => setPhone(event.target.value.replace(/\D/g, ""))} /><//>
      <div class="row code-row"><div class="grow"><${Field} label=${t("login.person.code")} error=${bad.code} hint=${sent ? t(sent.demo ? "login.person.demo_code" : "login.person.sent") : ""}>
        <input inputmode="numeric" autocomplete="one-time-code" maxlength="8" value=${code} onInput=${(event) => setCode(event.target.value)} /><//></div>
        <${Button} disabled=${rest > 0} onPress=${ask}>${rest > 0 ? t("login.person.again", { n: rest }) : t("login.person.send")}<//></div>
      <button class="sr-only" tabindex="-1" aria-hidden="true">${t("login.person.go")}</button>
    </form>
  <//>`;
}
