// Which small team to join, or to open one of one's own. A team's link is the room's address with ?team=<id>.
import { html, useEffect, useState } from "../shared/dom.js";
import { t } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Countdown } from "../shared/parts.js";

const SHOWN = 5; // as many as fit on a phone beside the stores; others are joined by their link

/** The team this page was opened for, null without one. */
export const linked = () => Number(new URLSearchParams(location.search).get("team")) || null;

export function TeamChoice({ view, chosen, onChoose, skew }) {
  const [teams, set] = useState([]);
  const [failed, fail] = useState(false);
  useEffect(() => {
    const mine = linked();
    const asked = [viewer.get(`/v1/offers/${view.id}/teams`), mine ? viewer.get(`/v1/teams/${mine}`).catch(() => null) : null];
    Promise.all(asked).then(([found, own]) => {
      const here = own && own.offer === view.id && own.state === "filling" ? [own] : [];
      if (!here.length && chosen === mine) onChoose(null);
      set([...here, ...found.teams.filter((one) => one.id !== own?.id)].slice(0, SHOWN));
    }, () => fail(true));
  }, [view.id]);
  const row = (id, text, closes) => html`<label class="store" key=${id ?? 0}><input type="radio" name="team" checked=${chosen === id} onChange=${() => onChoose(id)} />
    <span class="grow">${text}</span>${closes && html`<${Countdown} until=${closes} skew=${skew} />`}</label>`;
  return html`<fieldset class="stores"><legend class="field-label">${t("team.terms", view.team)}</legend>
    ${row(null, t("team.open"), null)}${teams.map((one) => row(one.id, t("team.join", one), one.closes))}
    ${failed && html`<p class="small muted" role="alert">${t("team.offline")}</p>`}</fieldset>`;
}
