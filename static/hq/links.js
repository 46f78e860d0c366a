// A room's two doors: the page for viewers, with a symbol to point a phone at, and the console.
import { html, useMemo } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { qrPath } from "./qr.js";

export const roomUrl = (id) => `${location.origin}/room/${encodeURIComponent(id)}`;

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("hq.copied"), "good");
  } catch {
    toast(t("hq.copy_by_hand"));
  }
}

export function Symbol({ text, label }) {
  const { path, size } = useMemo(() => qrPath(text), [text]);
  return html`<svg class="qr" viewBox=${`0 0 ${size} ${size}`} role="img" aria-label=${label} shape-rendering="crispEdges"><rect class="qr-paper" width=${size} height=${size} /><path class="qr-ink" d=${path} /></svg>`;
}

export function RoomLinks({ room }) {
  const url = roomUrl(room.id);
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  return html`<div class="links">
    <${Symbol} text=${url} label=${t("hq.qr_of", { url })} />
    <div class="stack grow">
      <p class="small muted">${t("hq.viewer_page")}</p>
      <p class="url mono">${url}</p>
      ${local && html`<p class="note note-warn">${t("hq.local_only")}</p>`}
      <div class="row row-wrap">
        <button type="button" class="btn" onClick=${() => copy(url)}>${t("hq.copy")}</button>
        <a class="btn" href=${url} target="_blank" rel="noopener">${t("hq.open_room")}</a>
        <a class="btn btn-primary" href=${`/console/${encodeURIComponent(room.id)}`}>${t("hq.open_console")}</a>
      </div>
    </div>
  </div>`;
}
