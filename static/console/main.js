// The host's console of one room.
import { html, cls, render, useState, useStore, useEffect } from "/static/shared/dom.js";
import { load, t, useLang, pick, said } from "/static/shared/i18n.js";
import { whoAmI, doors, home } from "/static/login/session.js";
import { Stuck } from "/static/login/frame.js";
import { Studio } from "./studio.js";
import { Head, toggle } from "./head.js";
import { Shelf, nextPin, pinTo } from "./shelf.js";
import { Comments } from "./comments.js";
import { Figures } from "./figures.js";
import { Refunds, OPEN } from "./refunds.js";
import { OpenSale, OpenCoupon, AddStock } from "./open.js";
import { ChangePrice, ChangeTime } from "./start.js";
import { VoidCoupon } from "./void.js";
import { OpenGroup } from "./open-group.js";
import { OpenPacket, OpenDraw } from "./open-giveaway.js";
import { OpenLeaderGroup } from "./open-leader.js";
import { OpenTeams } from "./open-team.js";
import { Rooms } from "./rooms.js";
import { RunPanel } from "./run-panel.js";
import { startNext } from "./run-cue.js";
import { useKeys, Help } from "./keys.js";

const SHEETS = {
  sale: OpenSale, coupon: OpenCoupon, group: OpenGroup, packet: OpenPacket, draw: OpenDraw, leader: OpenLeaderGroup, teams: OpenTeams,
  stock: AddStock, run: RunPanel, price: ChangePrice, time: ChangeTime, void: VoidCoupon,
};
const TABS = ["shelf", "comments", "figures", "refunds"];

/** What a role may do here; the server has the last word. */
const rights = (role) => ({ run: role === "owner" || role === "host", moderate: role !== "clerk" && role !== "leader" });

function Console({ studio, you }) {
  useLang();
  useStore(studio);
  const { may } = studio;
  const [sheet, setSheet] = useState(null); // {kind, offer?}
  const [help, setHelp] = useState(false);
  const [frozen, setFrozen] = useState(false);
  const [tab, setTab] = useState("shelf"); // phones show one panel at a time
  useEffect(() => {
    const seen = () => (document.hidden ? undefined : studio.room.show()); // a console in the background stays connected
    const online = () => studio.room.nudge();
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", online);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", online);
    };
  }, [studio]);
  const open = (kind, offer) => setSheet({ kind, offer });
  const run = may.run
    ? { s: () => studio.plannable && open("sale"), c: () => studio.live && open("coupon"), g: () => studio.live && open("group"), h: () => studio.live && open("packet"), d: () => studio.live && open("draw"), t: () => studio.live && open("teams"), r: () => open("run"), n: () => startNext(studio), b: () => toggle(studio), u: () => pinTo(studio, null),
        p: () => { const next = nextPin(studio.offers(), studio.view.pin); if (next) pinTo(studio, next); } }
    : {};
  useKeys({ ...run, f: () => setFrozen((was) => !was), "?": () => setHelp(true), "？": () => setHelp(true) });
  const asked = studio.refunds.filter((one) => one.state === OPEN).length;
  const offer = sheet?.offer && studio.offers().find((one) => one.id === sheet.offer.id);
  const Open = sheet && SHEETS[sheet.kind];
  document.title = `${studio.live ? "● " : ""}${pick(studio.view.title)} · ${t("console.title")}`;
  return html`<div class=${cls("studio", `tab-${tab}`, !may.run && "no-side")}>
    <${Head} studio=${studio} you=${you} may=${may} onHelp=${() => setHelp(true)} />
    ${!may.run && html`<p class="note role-note">${t("console.moderator_note")}</p>`}
    <main class="stage">
      <${Shelf} studio=${studio} may=${may} onOpen=${open} onStock=${(one) => open("stock", one)} onPrice=${(one) => open("price", one)} onTime=${(one) => open("time", one)} onVoid=${(one) => open("void", one)} />
      ${may.run && html`<div class="side"><${Figures} studio=${studio} /><${Refunds} studio=${studio} may=${may} /></div>`}
      <${Comments} studio=${studio} may=${may} frozen=${frozen} setFrozen=${setFrozen} />
    </main>
    <nav class="tabbar" aria-label=${t("console.panels")}>${TABS.slice(0, may.run ? 4 : 2).map((name) => html`<button key=${name} type="button" class=${cls(tab === name && "is-here")} aria-pressed=${tab === name} onClick=${() => setTab(name)}>
      ${t(`console.tab.${name}`)}${name === "refunds" && asked > 0 && html`<span class="badge num">${asked}</span>`}</button>`)}</nav>
    ${Open && (!sheet.offer || offer) && html`<${Open} studio=${studio} offer=${offer} onClose=${() => setSheet(null)} />`}
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
  </div>`;
}

async function start() {
  await load({ staff: true });
  const app = document.getElementById("app");
  const id = document.body.dataset.room;
  try {
    const me = await whoAmI();
    if (!rights(me.you.role).moderate) {
      location.replace(home(me.you.role));
      return;
    }
    if (!id) {
      render(html`<${Rooms} you=${me.you} rooms=${me.rooms} may=${rights(me.you.role)} />`, app);
      return;
    }
    const studio = new Studio(id, await doors.get(`/v1/rooms/${encodeURIComponent(id)}`), rights(me.you.role));
    studio.start();
    render(html`<${Console} studio=${studio} you=${me.you} />`, app);
  } catch (refusal) {
    if (!refusal.code) throw refusal;
    render(html`<${Stuck} text=${said(refusal)} again=${() => location.reload()} />`, app);
  }
}

start();
