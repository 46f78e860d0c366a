// The page's frame: video, what lies over it (beside it on a desk), and the sheets.
import { html, useStore, useEffect, useState, cls } from "../shared/dom.js";
import { t, useLang, pick, lang, said } from "../shared/i18n.js";
import { LangSwitch, Button } from "../shared/parts.js";
import { Speaker, Video } from "./video.js";
import { Comments, Composer } from "./talk.js";
import { Hearts } from "./hearts.js";
import { SaleCard } from "./sale.js";
import { ActButton, CouponCard, GroupCard, PinnedCard } from "./cards.js";
import { PacketCard, PacketSheet } from "./packets.js";
import { DrawCard, DrawSheet } from "./draws.js";
import { Shelf } from "./shelf.js";
import { BuySheet } from "./buy.js";
import { OrderSheet, RefundSheet } from "./order.js";
import { WaitSheet } from "./wait.js";
import { MineSheet } from "./mine.js";
import { Identify } from "./identify.js";
import { ShareButton, ShareSheet } from "./share.js";
import { FollowButton } from "./follow.js";
import { TeamsSheet } from "./teams.js";
import { TeamCard, TeamSheet } from "./team.js";

const SHEETS = { shelf: Shelf, buy: BuySheet, wait: WaitSheet, order: OrderSheet, refund: RefundSheet, mine: MineSheet, packet: PacketSheet, draw: DrawSheet, identify: Identify, share: ShareSheet, team: TeamSheet, teams: TeamsSheet };
const NEWS = 4_000; // ms a line of news stays over the video
const PATIENCE = 1_200; // ms without a socket before saying so: a short break should not frighten anybody

export function App({ shop }) {
  useStore(shop);
  useLang();
  const { room } = shop;
  const title = pick(room.title) || pick(shop.facts.title);
  useEffect(() => {
    document.title = `${title} · ${t(`index.phase.${room.phase}`)}`;
  }, [title, room.phase, lang()]);
  return html`<div class=${cls("room", `room-${room.phase}`)}>
    <section class="stage" aria-label=${t("room.video")}>
      <${Video} shop=${shop} />
      <${Hearts} shop=${shop} />
    </section>
    <div class="over">
      <${Head} shop=${shop} title=${title} />
      <${Connection} shop=${shop} />
      ${room.phase === "live" ? html`<div class="promos"><${PacketCard} shop=${shop} button=${(offer) => html`<${ActButton} shop=${shop} offer=${offer} kind="btn-coupon" />`} /><${CouponCard} shop=${shop} /><${DrawCard} shop=${shop} /><${GroupCard} shop=${shop} /><${TeamCard} shop=${shop} button=${(offer) => html`<${ActButton} shop=${shop} offer=${offer} />`} /></div>` : html`<${Curtain} shop=${shop} phase=${room.phase} />`}
      <${News} news=${shop.news} />
      <${Comments} shop=${shop} />
      ${room.phase === "live" && html`<${SaleCard} shop=${shop} /><${PinnedCard} shop=${shop} />`}
      <${Composer} shop=${shop} />
    </div>
    ${shop.sheets.map(({ name, ...facts }) => html`<${SHEETS[name]} key=${`${name} ${facts.no ?? facts.id ?? ""}`} shop=${shop} ...${facts} onClose=${() => shop.close(name)} />`)}
  </div>`;
}

function Head({ shop, title }) {
  const { viewers, likes } = shop.live.counts;
  const live = shop.room.phase === "live";
  return html`<header class="head">
    <div class="head-text">
      <h1 title=${title}>${title}</h1>
      <p class="head-facts">
        ${live ? html`<span class="on-air">${t("room.live")}</span>` : html`<span class="chip">${t(`index.phase.${shop.room.phase}`)}</span>`}
        ${shop.demo && html`<span class="demo-mark" title=${t("demo.note")}>${t("demo")}</span>`}
        <span class="num">${t("room.viewers", { n: viewers })}</span>
        ${shop.follow.count > 0 && html`<span class="num head-followers">${t("follow.count", { n: shop.follow.count })}</span>`}
        ${likes > 0 && html`<span class="num head-likes">${t("room.likes", { n: likes })}</span>`}
      </p>
    </div>
    <div class="head-end"><${FollowButton} shop=${shop} /><${ShareButton} shop=${shop} />${shop.picture && html`<button type="button" class=${cls("sound", shop.muted && "sound-off")} aria-label=${t(shop.muted ? "room.unmute" : "room.mute")} onClick=${() => shop.setMuted(!shop.muted)}>
      <${Speaker} off=${shop.muted} />${shop.muted && html`<span>${t("room.sound")}</span>`}</button>`}<${LangSwitch} /></div>
  </header>`;
}

/** Before and after the show. */
function Curtain({ shop, phase }) {
  return html`<section class="curtain" role="status"><p class="curtain-title">${t(`room.${phase}.title`)}</p><p class="small">${t(`room.${phase}.text`)}</p>
    ${phase === "ended" && html`<button type="button" class="btn btn-sm" onClick=${() => shop.open("mine")}>${t("orders.title")}</button>`}</section>`;
}

function Connection({ shop }) {
  const { status, facts } = shop.live;
  const [late, set] = useState(false);
  const away = status !== "live" && status !== "stopped";
  useEffect(() => {
    set(false);
    if (!away) return undefined;
    const timer = setTimeout(() => set(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [away]);
  if (status === "stopped") {
    const ended = facts.code === 4504 || facts.code === "room_closed";
    if (ended) return null;
    return html`<div class="link link-bad" role="alert"><span>${t("room.stopped")} ${typeof facts.code === "string" && said(facts)}</span>
      <${Button} kind="btn-sm" onPress=${() => shop.live.connect()}>${t("room.rejoin")}<//></div>`;
  }
  if (!away || !late) return null;
  return html`<div class="link" role="status"><span class="spin" aria-hidden="true"></span>${t(shop.live.you ? "room.reconnecting" : "room.connecting")}</div>`;
}

/** The latest news: for the eyes a few seconds, for screen readers once. */
function News({ news }) {
  const [shown, set] = useState(false);
  useEffect(() => {
    if (!news.n) return undefined;
    set(true);
    const timer = setTimeout(() => set(false), NEWS);
    return () => clearTimeout(timer);
  }, [news.n]);
  return html`<div class="news-place">
    ${shown && html`<p class="news" key=${news.n} aria-hidden="true">${news.text}</p>`}
    <p class="sr-only" aria-live="polite">${news.text}</p>
  </div>`;
}
