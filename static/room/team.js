// Small teams: the card with those that can be joined, one team by its link, which to join when buying, and how one's own stands.
import { html, useEffect, useState } from "../shared/dom.js";
import { t, pick, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Bar, Button, Countdown, Empty, Picture, Price, Spinner } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { LinkBox } from "./share.js";

const ON_CARD = 2; // teams; the others are in the list of all
const IN_SHEET = 5; // as many as fit on a phone beside the stores; the others are in the list of all
const LOOK = 3_000; // ms between looks at a team that the room does not show, while somebody looks at it
const UNDECIDED = new Set(["opening", "filling", "closing"]);
const LEFT = new Set(["CANCELLED", "REFUNDING", "REFUNDED"]); // orders that hold no seat

/** The team whose link this is, null without one. Read at once: the address is tidied later. */
export const linked = Number(new URLSearchParams(location.search).get("team")) || null;

/** What is known of teams: those the room shows, and those that were asked for. */
export class Teams {
  constructor(shop) {
    this.shop = shop;
    this.asked = new Map(); // id -> team
    this.failed = new Map(); // id -> refusal
  }

  board(offer) {
    return this.shop.live.state.get(`teams:${offer}`) || null;
  }

  /** Of an offer, newest first, with a seat and time left. */
  joinable(offer) {
    return (this.board(offer)?.open || []).filter((one) => canJoin(one, this.shop.live.now()));
  }

  /** How many have a seat, as the room was told: those whose clock has just run out are still among them. */
  open(offer) {
    const board = this.board(offer);
    return board ? board.filling - board.full : 0;
  }

  /** A team that the room shows now. */
  pushed(id) {
    for (const [key, { open }] of this.shop.live.state) {
      const shown = key.startsWith("teams:") && open.find((one) => one.id === id);
      if (shown) {
        const found = { ...shown, offer: Number(key.slice("teams:".length)), room: this.shop.id };
        this.asked.set(id, found); // the last that is known, once the room shows it no more
        return found;
      }
    }
    return null;
  }

  of(id) {
    return this.pushed(id) || this.asked.get(id) || null;
  }

  async fetch(id) {
    try {
      this.asked.set(id, await viewer.get(`/v1/teams/${id}`));
      this.failed.delete(id);
    } catch (refusal) {
      this.failed.set(id, refusal);
    }
    this.shop.draw();
  }

  /** This person's order with a seat in an offer's teams. */
  mine(offer) {
    return [...this.shop.orders.values()].find((one) => one.team?.offer === offer && !LEFT.has(one.state)) || null;
  }
}

export const canJoin = (team, now) => team.state === "filling" && team.left > 0 && team.closes > now;

/** A team as it is now: pushed while the room shows it, else asked for while it is looked at. */
function useTeam(shop, id, given = null) {
  const pushed = Boolean(shop.teams.pushed(id));
  const team = shop.teams.of(id) || given;
  const over = team !== null && !UNDECIDED.has(team.state);
  useEffect(() => {
    if (!id || pushed) return undefined;
    shop.teams.fetch(id);
    if (over) return undefined;
    const timer = setInterval(() => shop.teams.fetch(id), LOOK);
    return () => clearInterval(timer);
  }, [id, pushed, over]);
  return team;
}

export function words(team) {
  if (team.state !== "filling") return t(`team.${team.state}`, { n: team.held });
  return team.left > 0 ? t("team.left", { n: team.left }) : t("team.full", { n: team.held });
}

/** Seats paid and held apart, what is lacking, and the clock. */
export function TeamProgress({ team, skew }) {
  return html`<div class="team stack-tight">
    <p class="row between"><b>${t("team.no", team)}</b>${team.state === "filling" && html`<span class="small">${t("team.clock")} <${Countdown} until=${team.closes} skew=${skew} /></span>`}</p>
    <${Bar} size=${team.size} solid=${team.paid} light=${team.held} label=${t("team.bar", team)} />
    <p class="group-counts num"><span>${t("team.seats", team)}</span>${team.held > 0 && html`<span class="group-held">${t("group.held", { n: team.held })}</span>`}<span class="group-min" role="status">${words(team)}</span></p>
  </div>`;
}

/** Offers of small teams that are open: the teams to join, one's own, and the button to open one. */
export function TeamCard({ shop, button }) {
  const offer = shop.offers().find((one) => one.view.team && one.open);
  if (!offer) return null;
  const { view } = offer;
  const board = shop.teams.board(view.id);
  const mine = shop.teams.mine(view.id);
  const team = mine && (shop.teams.of(mine.team.id) || mine.team);
  const row = (one, text, act) => html`<li key=${one.id} class="row between"><span class="small"><b>${t("team.no", one)}</b> · ${words(one)}${one.state === "filling" && html` · <${Countdown} until=${one.closes} skew=${shop.live.skew} />`}</span>
    <button type="button" class="btn btn-sm" onClick=${act} aria-label=${`${text} ${t("team.no", one)}`}>${text}</button></li>`;
  return html`<section class="group teams" key=${view.id} aria-label=${t("team.title")}>
    <div class="row between"><p class="group-name"><span class="chip chip-accent">${t("team.size", view.team)}</span><span>${pick(view.name)}</span></p>
      <span class="group-price"><${Price} fen=${view.fen} was=${view.list_fen} /></span></div>
    <ul class="team-rows">${mine ? row(team, t("team.mine"), () => shop.open("order", { no: mine.no }))
      : shop.teams.joinable(view.id).slice(0, ON_CARD).map((one) => row(one, t("team.join"), () => shop.open("team", { id: one.id })))}</ul>
    <div class="row between"><p class="group-next">${board && board.filling + board.made > 0 ? t("team.sums", board) : t("team.first")}${!mine && shop.teams.open(view.id) > ON_CARD && html` <button type="button" class="link-btn" onClick=${() => shop.open("teams", { id: view.id })}>${t("teams.all")}</button>`}${view.closes && html` · <${Countdown} until=${view.closes} skew=${shop.live.skew} />`}</p>${!mine && button(offer)}</div>
  </section>`;
}

/** One team: who came by its link joins here. */
export function TeamSheet({ shop, id, onClose }) {
  const team = useTeam(shop, id);
  const failed = shop.teams.failed.get(id);
  const offer = team && shop.offer(team.offer);
  if (failed?.code === "not_found" || (team && team.room !== shop.id)) return html`<${Sheet} title=${t("team.title")} onClose=${onClose}><${Empty} title=${t("team.gone")} text=${t("team.gone.text")} /><//>`;
  if (!team || (!offer && shop.live.status !== "live")) {
    return html`<${Sheet} title=${t("team.title")} onClose=${onClose}>${failed ? html`<p class="note note-bad" role="alert">${said(failed)}</p>` : html`<${Spinner} />`}<//>`;
  }
  const mine = [...shop.orders.values()].find((one) => one.team?.id === id && !LEFT.has(one.state));
  const other = mine || (offer && shop.teams.mine(offer.view.id));
  const fits = offer?.open && canJoin(team, shop.live.now());
  const buy = (joins) => {
    onClose();
    shop.identified(() => shop.open("buy", { id: team.offer, team: joins }));
  };
  const look = () => {
    onClose();
    shop.open("order", { no: other.no });
  };
  const foot = other ? html`<${Button} kind="btn-primary btn-block" onPress=${look} first=${true}>${t(mine ? "team.mine" : "team.mine.other")}<//>`
    : offer?.open && html`<${Button} kind="btn-primary btn-block" onPress=${() => buy(fits ? id : null)} first=${true}>${t(fits ? "team.join.fen" : "team.open.fen", { fen: offer.view.fen })}<//>`;
  return html`<${Sheet} title=${t("team.title")} onClose=${onClose} foot=${foot}>
    <div class="stack">
      ${offer && html`<div class="row buy-item"><${Picture} src=${offer.view.picture} name=${pick(offer.view.name)} large=${true} />
        <div class="grow stack-tight"><h3>${pick(offer.view.name)}</h3><p><${Price} fen=${offer.view.fen} was=${offer.view.list_fen} /></p><p class="small muted">${t("team.terms", offer.view.team)}</p></div></div>`}
      <${TeamProgress} team=${team} skew=${shop.live.skew} />
      ${!other && !fits && html`<p class="note note-warn">${t(offer?.open ? "team.late.open" : "team.late")}</p>`}
      ${fits && !other && html`<p class="small muted">${t("team.explain")}</p>`}
    </div>
  <//>`;
}

/** Where one buys: which team to join, null to open one. */
export function TeamChoice({ shop, view, chosen, onChoose, busy }) {
  const now = shop.live.now();
  const wanted = useTeam(shop, chosen);
  const gone = chosen !== null && wanted !== null && !canJoin(wanted, now);
  useEffect(() => {
    if (gone && !busy) onChoose(null);
  }, [gone, busy]);
  const others = shop.teams.joinable(view.id).filter((one) => one.id !== chosen);
  const rows = [...(wanted && !gone ? [wanted] : []), ...others].slice(0, IN_SHEET);
  const row = (id, text, closes) => html`<label class=${chosen === id ? "store store-chosen" : "store"} key=${id ?? 0}><input type="radio" name="team" checked=${chosen === id} onChange=${() => onChoose(id)} />
    <span class="grow">${text}</span>${closes && html`<span class="small"><${Countdown} until=${closes} skew=${shop.live.skew} /></span>`}</label>`;
  return html`<fieldset class="stores" disabled=${busy}><legend class="field-label">${t("team.which")}</legend>
    ${row(null, t("team.open"), null)}${rows.map((one) => row(one.id, `${t("team.no", one)} · ${words(one)}`, one.closes))}
    ${shop.teams.open(view.id) > IN_SHEET && html`<button type="button" class="link-btn" onClick=${() => shop.open("teams", { id: view.id, onPick: onChoose })}>${t("teams.all")}</button>`}
    <p class="small muted">${t("team.terms", view.team)} ${t("team.explain")}</p></fieldset>`;
}

/** On one's order: how its team stands, and the way to fill it. */
export function OrderTeam({ shop, order }) {
  const team = useTeam(shop, order.team.id, order.team);
  return html`<section class="stack-tight" aria-label=${t("team.mine")}><${TeamProgress} team=${team} skew=${shop.live.skew} />
    ${order.state === "GROUP_WAIT" && team.state === "filling" && team.left > 0 && html`<${Invite} shop=${shop} team=${team} />`}</section>`;
}

/** A link that leads to this team, and says whose it is. */
function Invite({ shop, team }) {
  const [url, set] = useState("");
  const [bad, fail] = useState(null);
  const load = () => viewer.post(`/v1/rooms/${encodeURIComponent(shop.id)}/share`).then((made) => {
    fail(null);
    set(`${location.origin}${made.path}&team=${team.id}`);
  }, fail);
  useEffect(() => {
    load();
  }, [team.id]);
  if (bad) return html`<p class="note note-bad row between" role="alert"><span>${said(bad)}</span><${Button} kind="btn-sm" onPress=${load}>${t("retry")}<//></p>`;
  return url ? html`<${LinkBox} shop=${shop} url=${url} lead=${t("team.invite", { n: team.left })} />` : html`<${Spinner} />`;
}

/** What became of one's team, for an order's news; null when it is no such news. */
export function teamNews(held, body) {
  if (!held?.team || held.state !== "GROUP_WAIT") return null;
  return body.state === "ALLOCATED" ? t("team.told.made") : body.state === "REFUNDING" ? t("team.told.failed") : null;
}
