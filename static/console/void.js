// Taking a batch of coupons back: nobody claims it, what is claimed and not used is void, and its holders read why.
import { html } from "/static/shared/dom.js";
import { t, pick, number } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { useForm, Text } from "/static/login/forms.js";
import { FormSheet } from "./open.js";

export function VoidCoupon({ studio, offer, onClose }) {
  const form = useForm({ reason: "" }, (v) => ({ reason: v.reason.trim() ? "" : t("login.why.empty") }), async (v) => {
    await studio.voidCoupon(offer.id, v.reason);
    toast(t("console.voided", { name: pick(offer.name) }), "good");
    onClose();
  });
  return html`<${FormSheet} title=${t("console.void")} form=${form} send=${t("console.void_now")} onClose=${onClose}>
    <p class="lead">${pick(offer.name)} · ${t("console.void_claimed", { n: number(offer.taken) })}</p>
    <p class="note note-warn">${t("console.void_what")}</p>
    <${Text} label=${t("console.void_reason")} hint=${t("console.void_reason_hint")} maxlength="60" autocomplete="off" ...${form.bind("reason")} first />
  <//>`;
}
