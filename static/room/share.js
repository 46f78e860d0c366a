// Sharing: my own link to this room, as text, as a symbol and through the phone's own share sheet; and coming by somebody's link.
import { html, useEffect, useState } from "../shared/dom.js";
import { t, pick, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Spinner } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { qrPath } from "../hq/qr.js";

const KEPT = "share"; // the link somebody came by, until they have said who they are

/** Tells the shop whose link led here, once the person is known; a guest's is kept until then. */
export async function arrive(shop) {
  const given = new URLSearchParams(location.search).get("s");
  if (given) {
    shop.keepHere(KEPT, given);
    const address = new URL(location.href);
    address.searchParams.delete("s");
    history.replaceState(null, "", address); // a reload is no second visit
  }
  const token = shop.keptHere(KEPT);
  if (!token || !viewer.known) return;
  try {
    await viewer.post(`/v1/shares/${encodeURIComponent(token)}/open`);
  } catch (refusal) {
    if (refusal.code === "offline" || refusal.retry) return; // asked again at the next visit
  }
  shop.keepHere(KEPT, null); // also when refused: one's own link, or one nobody made
}

export function ShareSheet({ shop, onClose }) {
  const [url, setUrl] = useState("");
  const [mine, setMine] = useState(null); // {people, orders, fen}
  const [bad, fail] = useState(null);
  const load = async () => {
    fail(null);
    try {
      const made = await viewer.post(`/v1/rooms/${encodeURIComponent(shop.id)}/share`);
      setUrl(location.origin + made.path);
      setMine(await viewer.get(`/v1/me/shares?room=${encodeURIComponent(shop.id)}`));
    } catch (refusal) {
      fail(refusal);
    }
  };
  useEffect(() => {
    load();
  }, []);
  return html`<${Sheet} title=${t("share.title")} onClose=${onClose}>
    ${bad ? html`<p class="note note-bad row between" role="alert"><span>${said(bad)}</span><${Button} kind="btn-sm" onPress=${load}>${t("retry")}<//></p>`
      : !url ? html`<${Spinner} />`
      : html`<${LinkBox} shop=${shop} url=${url} lead=${t("share.lead")}>${mine && html`<p class="note" role="status">${mine.people > 0 ? t("share.brought", mine) : t("share.nobody")}</p>`}<//>`}
  <//>`;
}

/** A link as symbol and as text, with the ways to pass it on. */
export function LinkBox({ shop, url, lead, children }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(url);
      shop.note(t("share.copied"), "good");
    } catch {
      shop.note(t("share.by_hand"));
    }
  };
  const send = () => navigator.share({ title: pick(shop.room.title), url }).catch(() => {}); // closed without choosing
  return html`<div class="stack share">
    <p class="lead small">${lead}</p>
    <${Code} text=${url} />
    <p class="mono share-url">${url}</p>
    <div class="row">${navigator.share && html`<button type="button" class="btn btn-primary grow" onClick=${send}>${t("share.send")}</button>`}
      <button type="button" class="btn grow" data-first onClick=${copy}>${t("share.copy")}</button></div>
    ${children}
  </div>`;
}

function Code({ text }) {
  const { path, size } = qrPath(text);
  return html`<svg class="share-qr" viewBox=${`0 0 ${size} ${size}`} role="img" aria-label=${t("share.qr")} shape-rendering="crispEdges"><rect fill="#fff" width=${size} height=${size} /><path fill="#000" d=${path} /></svg>`;
}

export function ShareButton({ shop }) {
  return html`<button type="button" class="sound" aria-label=${t("share.title")} onClick=${() => shop.identified(() => shop.open("share"))}>
    <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.800" stroke-linecap="round" stroke-linejoin="round"><path d="M12 15V4M8 7.500 12 3.500l4 4M5 13v6h14v-6" /></svg></button>`;
}
