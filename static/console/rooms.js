// Without a room in the address: choose one, or make one.
import { html, cls, useState } from "/static/shared/dom.js";
import { t, pick, useLang } from "/static/shared/i18n.js";
import { Empty } from "/static/shared/parts.js";
import { TopBar } from "/static/login/frame.js";
import { RoomForm } from "/static/hq/room-form.js";

export function Rooms({ you, rooms, may }) {
  useLang();
  const [making, set] = useState(!rooms.length && may.run);
  const rank = { live: 0, draft: 1, ended: 2 };
  const sorted = [...rooms].sort((a, b) => rank[a.phase] - rank[b.phase]);
  document.title = t("console.title");
  return html`<${TopBar} you=${you} at="console" title=${t("console.title")} />
    <main class="page rooms">
      <div class="row between"><h1>${t("console.choose_room")}</h1>
        ${may.run && !making && html`<button type="button" class="btn btn-primary" onClick=${() => set(true)}>${t("console.new_room")}</button>`}</div>
      ${making && html`<section class="card form"><h2>${t("console.new_room")}</h2>
        <${RoomForm} onMade=${(room) => location.assign(`/console/${encodeURIComponent(room.id)}`)} onCancel=${rooms.length ? () => set(false) : undefined} /></section>`}
      ${!rooms.length && !making && html`<${Empty} title=${t("console.no_rooms")} text=${t("console.no_rooms_text")} />`}
      <ul class="room-list">${sorted.map((room) => html`<li key=${room.id}><a class="card room-card" href=${`/console/${encodeURIComponent(room.id)}`}>
        <span class=${cls("phase", `phase-${room.phase}`)}><i class="dot" aria-hidden="true"></i>${t(`console.phase.${room.phase}`)}</span>
        <b class="grow ellipsis">${pick(room.title)}</b><span class="muted small">${room.id}</span></a></li>`)}</ul>
    </main>`;
}
