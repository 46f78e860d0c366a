// The bar over the console: which show, how many, how far the hub is, and the one big switch.
import { html, cls, useNow } from "/static/shared/dom.js";
import { t, pick, short, said } from "/static/shared/i18n.js";
import { refused } from "/static/shared/toast.js";
import { confirm } from "/static/shared/dialog.js";
import { Button } from "/static/shared/parts.js";
import { Account, Mark } from "/static/login/frame.js";
import { home } from "/static/login/session.js";
import { Key } from "./keys.js";

const FAR = 300; // ms there and back above which a host should know that what they see is late

/** Asks before a show ends; starting is asked too, since it opens the room to everybody. */
export async function toggle(studio) {
  const live = studio.live;
  const open = studio.offers().filter((one) => one.phase === "open").length;
  const yes = await confirm({
    title: t(live ? "console.stop_title" : "console.start_title"),
    text: live && open ? t("console.stop_open", { n: open }) : t(live ? "console.stop_text" : "console.start_text"),
    yes: t(live ? "console.stop" : "console.start"),
    danger: live,
  });
  if (!yes) return;
  try {
    await (live ? studio.finish() : studio.begin());
  } catch (refusal) {
    refused(refusal);
  }
}

function Line({ studio }) {
  const { status, facts } = studio.room;
  const now = useNow(1000, status === "waiting");
  const late = status === "live" && studio.rtt !== null && studio.rtt > FAR;
  const tone = status === "live" ? (late ? "warn" : "good") : status === "stopped" ? "bad" : "warn";
  const text = status === "live"
    ? studio.rtt === null ? t("console.line.live") : t("console.line.rtt", { ms: studio.rtt })
    : status === "waiting" ? t("console.line.waiting", { s: Math.max(0, Math.ceil((facts.at - now) / 1000)) })
    : status === "stopped" ? lost(facts) : t(`console.line.${status}`);
  return html`<button type="button" class=${cls("line", `line-${tone}`)} role="status" title=${t("console.line.title")}
    disabled=${!["waiting", "stopped", "hidden"].includes(status)} onClick=${() => studio.room.connect()}>
    <i class="dot" aria-hidden="true"></i><span class="num">${text}</span></button>`;
}

const lost = (facts) => (typeof facts.code === "string" ? said({ code: facts.code }) : t("console.line.stopped", { code: facts.code || "" }));

export function Head({ studio, you, may, onHelp }) {
  const { view } = studio;
  const { viewers, likes } = studio.room.counts;
  return html`<header class="head">
    <a class="top-home" href=${home(you.role)} aria-label=${t("login.home")}><${Mark} /></a>
    <div class="head-title"><h1 class="ellipsis">${pick(view.title)}</h1>
      <a class="small muted" href="/console">${studio.id} · ${t("console.other_room")}</a></div>
    <span class=${cls("phase", `phase-${view.phase}`)}><i class="dot" aria-hidden="true"></i>${t(`console.phase.${view.phase}`)}</span>
    ${studio.place.demo && html`<span class="chip chip-warn head-demo">${t("console.demo")}</span>`}
    <div class="head-counts">
      <span><b class="num">${short(viewers)}</b><small>${t("console.viewers")}</small></span>
      <span><b class="num">${short(studio.room.state.get("follows")?.followers || 0)}</b><small>${t("console.followers")}</small></span>
      <span><b class="num">${short(likes)}</b><small>${t("console.likes")}</small></span>
    </div>
    <${Line} studio=${studio} />
    <div class="head-acts">
      <a class="btn btn-quiet head-open" href=${`/room/${encodeURIComponent(studio.id)}`} target="_blank" rel="noopener">${t("console.open_room")}</a>
      ${may.run && html`<${Button} kind=${studio.live ? "btn-danger" : "btn-primary"} onPress=${() => toggle(studio)}>
        ${t(studio.live ? "console.stop" : "console.start")}<${Key} of="B" /><//>`}
      <button type="button" class="icon-btn head-help" aria-label=${t("console.keys")} onClick=${onHelp}><span class="kbd">?</span></button>
      <${Account} you=${you} at="console" />
    </div>
  </header>`;
}
