// What comes next by the run sheet, in one line under the launch buttons; and starting it with one key.
import { html, cls, useNow } from "/static/shared/dom.js";
import { t, pick, money, has, said } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Button } from "/static/shared/parts.js";
import { Key } from "./keys.js";

const ON_TIME = 30; // seconds early or late that nobody need hear of

/** What a row is about, in a few words. */
export function rowTitle({ kind, settings, name }) {
  if (settings.sku) return `${pick(name) || settings.sku}${settings.fen ? ` ${money(settings.fen)}` : ""}`;
  if (settings.prize_zh) return pick({ zh: settings.prize_zh, en: settings.prize_en });
  if (settings.currency) return t(`run.packet.${settings.currency}`, settings);
  if (settings.points) return t("run.points", settings);
  if (settings.off) return t(settings.threshold ? "run.coupon" : "run.coupon_any", { off: settings.off, threshold: settings.threshold });
  return t(kind === "pin" ? "run.unpin" : kindKey(kind));
}

export const kindKey = (kind) => (has(`run.kind.${kind}`) ? `run.kind.${kind}` : "run.kind.other");

/** "3 min late", "on time"; null when nothing says. */
export function lateText(seconds) {
  if (seconds === null) return null;
  const n = Math.max(1, Math.round(Math.abs(seconds) / 60));
  return Math.abs(seconds) < ON_TIME ? t("run.on_time") : t(seconds > 0 ? "run.late" : "run.early", { n });
}

/** Says why a row was not started or changed, and who was there before. */
export function refusedRow(refusal) {
  const { state, by, field } = refusal.facts || {};
  const text = refusal.code === "state" && has(`run.no.${state}`) ? t(`run.no.${state}`, { by: by || t("console.staff") })
    : refusal.code === "not_found" && field === "settings.sku" ? t("run.no.pin")
    : refusal.code === "room_closed" ? t("run.no.off_air") : said(refusal);
  toast(text, "bad");
}

export async function startRow(studio, row) {
  try {
    await studio.run.start(row);
    toast(t("run.started", { name: rowTitle(row) }), "good");
    studio.askOffers();
  } catch (refusal) {
    if (!refusal.code) throw refusal;
    refusedRow(refusal);
  }
}

/** The key's act: never on a row that came up only now, since the press was meant for the one before. */
export async function startNext(studio) {
  const { next, settling } = studio.run;
  if (!next) toast(t("run.none_left"));
  else if (!studio.live) toast(t("run.no.off_air"), "bad");
  else if (settling) toast(t("run.settling", { name: rowTitle(next) }));
  else await startRow(studio, next);
}

export function Cue({ studio, onOpen }) {
  const { sheet, next, rows } = studio.run;
  const now = useNow(1000, Boolean(sheet?.began));
  if (!sheet) return null;
  const behind = studio.run.behind(now);
  return html`<section class="cue" aria-label=${t("run.title")}>
    <div class="grow cue-next">
      ${next
        ? html`<p class="ellipsis"><span class="muted">${t("run.next")}</span> <b class="num">${t("run.minute", { n: next.minute })}</b> <span class=${`tag tag-${next.kind}`}>${t(kindKey(next.kind))}</span> <b>${rowTitle(next)}</b></p>
          ${next.note && html`<p class="small muted cue-note">${next.note}</p>`}`
        : html`<p class="muted">${t(rows.length ? "run.none_left" : "run.empty")}</p>`}
    </div>
    ${behind !== null && next && html`<span class=${cls("chip num", behind >= ON_TIME ? "chip-warn" : "chip-good")}>${lateText(behind)}</span>`}
    ${next && html`<${Button} kind="btn-soft cue-start" disabled=${!studio.live} onPress=${() => startNext(studio)}>${t("run.start")}<${Key} of="N" /><//>`}
    <button type="button" class="btn btn-quiet" onClick=${onOpen}>${t(rows.length ? "run.title" : "run.prepare")}<${Key} of="R" /></button>
  </section>`;
}
