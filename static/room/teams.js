// Every small team of an offer that can be joined: counted, found by number, a page at a time.
import { html, useEffect, useState } from "../shared/dom.js";
import { t, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Countdown, Empty, Spinner } from "../shared/parts.js";
import { Sheet } from "../shared/dialog.js";
import { canJoin, words } from "./team.js";

/** `onPick`: what a team's button does instead of showing it. */
export function TeamsSheet({ shop, id, onPick, onClose }) {
  const [list, set] = useState(null); // {joinable, teams, next}
  const [failed, fail] = useState(null);
  const [number, setNumber] = useState("");
  const [missing, setMissing] = useState("");
  const ask = async (before) => {
    try {
      const page = await viewer.get(`/v1/offers/${id}/teams/open${before ? `?before=${before}` : ""}`);
      set((held) => ({ ...page, teams: [...(before ? held.teams : []), ...page.teams] }));
      fail(null);
    } catch (refusal) {
      fail(refusal);
    }
  };
  useEffect(() => {
    ask(null);
  }, [id]);
  const go = (team) => {
    onClose();
    if (onPick) onPick(team);
    else shop.open("team", { id: team });
  };
  const find = async (event) => {
    event.preventDefault();
    const wanted = Number(number.trim());
    if (!Number.isInteger(wanted) || wanted < 1) return setMissing(t("teams.find.number"));
    await shop.teams.fetch(wanted);
    const team = shop.teams.of(wanted);
    const refusal = shop.teams.failed.get(wanted);
    if (refusal && refusal.code !== "not_found") return setMissing(said(refusal));
    if (!team || team.offer !== id) return setMissing(t("team.gone"));
    return canJoin(team, shop.live.now()) ? go(wanted) : setMissing(t("team.late"));
  };
  const now = shop.live.now();
  // A row that the room still shows is as it is now; the others are as they were when they were asked for, and are looked at anew when pressed.
  const rows = (list?.teams || []).map((one) => shop.teams.pushed(one.id) || one).filter((one) => canJoin(one, now));
  return html`<${Sheet} title=${t("teams.title")} onClose=${onClose} cls="sheet-tall">
    <div class="stack">
      <p class="small muted" role="status">${list && t("teams.count", { n: list.joinable, shown: rows.length })}</p>
      <form class="row" onSubmit=${find}><label class="grow"><span class="sr-only">${t("teams.find")}</span>
        <input class="input" inputmode="numeric" enterkeyhint="search" autocomplete="off" maxlength="15" placeholder=${t("teams.find")} value=${number} aria-invalid=${Boolean(missing)}
          onInput=${(event) => { setNumber(event.target.value); setMissing(""); }} /></label><button class="btn">${t("teams.find.go")}</button></form>
      ${missing && html`<p class="field-error" role="alert">${missing}</p>`}
      ${failed && html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${() => ask(list?.next ?? null)}>${t("retry")}<//></p>`}
      ${!list ? !failed && html`<${Spinner} />` : rows.length === 0 && !list.next ? html`<${Empty} title=${t("teams.none")} text=${t("team.first")} />`
        : html`<ul class="team-rows">${rows.map((one) => html`<li key=${one.id} class="row between"><span class="small"><b>${t("team.no", one)}</b> · ${words(one)} · <${Countdown} until=${one.closes} skew=${shop.live.skew} /></span>
          <button type="button" class="btn btn-sm" aria-label=${`${t("team.join")} ${t("team.no", one)}`} onClick=${() => go(one.id)}>${t("team.join")}</button></li>`)}</ul>`}
      ${list?.next && html`<${Button} kind="btn-block" onPress=${() => ask(list.next)}>${t("teams.more")}<//>`}
    </div>
  <//>`;
}
