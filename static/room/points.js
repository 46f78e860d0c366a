// My points: the balance, and what each of the newest entries was for.
import { html, useEffect, useState } from "../shared/dom.js";
import { t, date, number, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Empty, Spinner } from "../shared/parts.js";

const CAUSES = new Set(["packet", "draw"]);

const why = (cause) => {
  const [kind] = cause.split(":");
  return t(`points.for.${CAUSES.has(kind) ? kind : "other"}`);
};

export function Points({ shop }) {
  const [found, set] = useState(null); // {points, entries}
  const [failed, fail] = useState(null);
  const ask = () => viewer.get("/v1/me/points").then((book) => {
    fail(null);
    set(book);
  }, fail);
  useEffect(() => {
    if (viewer.known) ask();
  }, [viewer.you?.sub, shop.packets.points]);
  if (failed) return html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${ask}>${t("retry")}<//></p>`;
  if (viewer.known && !found) return html`<${Spinner} />`;
  if (!found?.entries.length) return html`<${Empty} title=${t("points.empty")} text=${t("points.empty.text")} />`;
  return html`<p class="row between points-sum"><span>${t("points.balance")}</span><b class="num">${number(found.points)}</b></p>
    <ul class="stack points">${found.entries.map((one) => html`<li key=${one.cause} class="row between"><span><b>${why(one.cause)}</b> <span class="small muted">${date(one.at)}</span></span><b class="num">${one.amount > 0 ? "+" : ""}${number(one.amount)}</b></li>`)}</ul>`;
}
