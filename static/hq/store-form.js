// A store: its code for good, its names, and what helps people to find it.
import { html } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { doors } from "/static/login/session.js";
import { useForm, Text, Left } from "/static/login/forms.js";

const CODE = /^[A-Za-z0-9_]{1,32}$/;
const EMPTY = { code: "", name_zh: "", name_en: "", address_zh: "", address_en: "", hours: "10:00-22:00", lat: "", lon: "", leader_point: false };

/** A coordinate as typed: {ok, value}; empty is fine. */
function degrees(text, most) {
  const plain = text.normalize("NFKC").trim();
  if (!plain) return { ok: true, value: undefined };
  const value = Number(plain);
  return { ok: Number.isFinite(value) && Math.abs(value) <= most, value };
}

/** `quiet`: adding another is not the main thing to do here any more. */
export function StoreForm({ onMade, onCancel, quiet }) {
  const form = useForm(
    EMPTY,
    (v) => ({
      code: CODE.test(v.code.trim()) ? "" : t("hq.store_code_bad"),
      name_zh: v.name_zh.trim() ? "" : t("login.why.empty"),
      name_en: v.name_en.trim() ? "" : t("login.why.empty"),
      lat: degrees(v.lat, 90).ok ? "" : t("login.why.between", { a: -90, b: 90 }),
      lon: degrees(v.lon, 180).ok ? "" : t("login.why.between", { a: -180, b: 180 }),
    }),
    async (v) => {
      const texts = Object.fromEntries(["code", "name_zh", "name_en", "address_zh", "address_en", "hours"].map((name) => [name, v[name].trim()]));
      const made = await doors.post("/v1/stores", { ...texts, lat: degrees(v.lat, 90).value, lon: degrees(v.lon, 180).value, leader_point: v.leader_point });
      for (const [name, text] of Object.entries(EMPTY)) form.set(name, text);
      onMade(made);
    },
  );
  return html`<form class="form" onSubmit=${form.submit} novalidate>
    <div class="two">
      <${Text} label=${t("hq.name_zh")} ...${form.bind("name_zh")} maxlength="60" placeholder="静安寺店" first />
      <${Text} label=${t("hq.name_en")} ...${form.bind("name_en")} maxlength="60" placeholder="Jing'an Temple" />
      <${Text} label=${t("hq.store_code")} hint=${t("hq.store_code_hint")} ...${form.bind("code")} maxlength="32" placeholder="jingan" autocapitalize="none" spellcheck=${false} />
      <${Text} label=${t("hq.hours")} ...${form.bind("hours")} maxlength="60" />
      <${Text} label=${t("hq.address_zh")} ...${form.bind("address_zh")} maxlength="200" />
      <${Text} label=${t("hq.address_en")} ...${form.bind("address_en")} maxlength="200" />
      <${Text} label=${t("hq.lat")} hint=${t("hq.degrees_hint")} ...${form.bind("lat")} inputmode="decimal" maxlength="12" placeholder="31.2231" />
      <${Text} label=${t("hq.lon")} ...${form.bind("lon")} inputmode="decimal" maxlength="12" placeholder="121.4457" />
    </div>
    <label class="row"><input type="checkbox" checked=${form.values.leader_point} onChange=${(event) => form.set("leader_point", event.target.checked)} /><span>${t("hq.leader_point")}</span></label>
    <${Left} form=${form} />
    <div class="row form-foot">${onCancel && html`<button type="button" class="btn" onClick=${onCancel}>${t("hq.cancel")}</button>`}
      <button type="submit" class=${quiet ? "btn" : "btn btn-primary"} disabled=${form.busy}>${t(quiet ? "hq.another_store" : "hq.add_store")}</button></div>
  </form>`;
}
