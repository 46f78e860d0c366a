// The sheet of a line: how many and at which stores, then one's number in it.
import { html, useState, cls } from "../shared/dom.js";
import { t, pick } from "../shared/i18n.js";
import { Button, Picture, Price, Stepper } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { refused } from "../shared/toast.js";

export function WaitSheet({ shop, id, onClose }) {
  const offer = shop.offer(id);
  const codes = Object.keys(offer?.left || {});
  const [qty, setQty] = useState(1);
  const [not, setNot] = useState([]); // stores that are not wanted
  if (!offer) return null;

  const { view } = offer;
  const entry = shop.waits.state(id) === "waiting" ? shop.waits.of(id) : null;
  const at = codes.filter((code) => !not.includes(code));
  const flip = (code) => setNot(not.includes(code) ? not.filter((one) => one !== code) : [...not, code]);
  const act = (what) => async () => {
    try {
      await what();
    } catch (refusal) {
      refused(refusal);
      if (refusal.code === "on_sale") {
        onClose();
        shop.open("buy", { id });
      }
    }
  };
  const foot = entry
    ? html`<${Button} kind="btn-block" onPress=${act(() => shop.waits.leave(id))}>${t("wait.leave")}<//>`
    : html`<${Button} kind="btn-primary btn-block" disabled=${!offer.open || !at.length} first=${true} onPress=${act(() => shop.waits.enter(view, Math.min(qty, view.per_person), at))}>${t(offer.open ? "wait.enter" : "offer.ended")}<//>`;

  return html`<${Sheet} title=${t("wait.title")} onClose=${onClose} foot=${foot}>
    <div class="stack">
      <div class="row buy-item"><${Picture} src=${view.picture} name=${pick(view.name)} large=${true} />
        <div class="grow stack-tight"><h3>${pick(view.name)}</h3><p><${Price} fen=${entry?.fen ?? view.fen} was=${view.list_fen} /></p><p class="small muted">${t("offer.limit", { n: view.per_person })}</p></div></div>
      ${entry ? html`<p class="note note-good wait-number" role="status">${t("wait.number", { n: shop.waits.number(entry) })}</p>
          <p class="small muted">${t("wait.wish", { n: entry.qty, stores: (entry.at || []).map((code) => pick(shop.store(code).name)).join(t("wait.or")) })}</p>`
        : html`<div class="row between"><span class="field-label">${t("buy.qty")}</span><${Stepper} value=${Math.min(qty, view.per_person)} most=${view.per_person} onChange=${setQty} label=${t("buy.qty")} /></div>
          <fieldset class="stores"><legend class="field-label">${t("wait.stores")}</legend>
            ${codes.map((code) => html`<label key=${code} class=${cls("store", at.includes(code) && "store-chosen")}>
              <input type="checkbox" checked=${at.includes(code)} onChange=${() => flip(code)} /><span class="grow"><b>${pick(shop.store(code).name)}</b><span class="small muted">${pick(shop.store(code).address)}</span></span></label>`)}</fieldset>`}
      <p class="small muted">${t("wait.explain")}</p>
    </div>
  <//>`;
}
