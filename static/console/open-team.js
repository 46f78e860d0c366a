// Opening an offer of small teams: seats of each, a clock from its opener's payment, and what becomes of one that runs out.
import { html, cls } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { Bar } from "/static/shared/parts.js";
import { useForm, Whole, Yuan, between, toFen, toWhole } from "/static/login/forms.js";
import { SkuChoice, StockByStore, stockBody, stockFaults, Minutes, chooseGoods, minutesFault, titleOf } from "./goods.js";
import { FormSheet, withMinutes } from "./open.js";

const [LEAST_SEATS, MOST_SEATS, MOST_MINUTES] = [2, 50, 1440]; // as the server

function check(v) {
  if (!v.sku) return { sku: t("console.need_goods") };
  const size = toWhole(v.size);
  const units = Object.values(stockBody(v.stock)).reduce((sum, n) => sum + n, 0);
  return {
    fen: toFen(v.fen) > 0 ? "" : t("console.need_price"),
    size: between(v.size, LEAST_SEATS, MOST_SEATS) || (units && size > units ? t("login.why.above_stock") : ""),
    team_minutes: between(v.team_minutes, 1, MOST_MINUTES),
    minutes: minutesFault(v.minutes),
    ...stockFaults(v.sku, v.stock),
  };
}

export function OpenTeams({ studio, onClose }) {
  const form = useForm({ sku: null, fen: "", size: "3", team_minutes: "30", minutes: "60", fills: false, stock: {}, ...studio.typed }, check, async (v, key) => {
    const body = { sku: v.sku.code, fen: toFen(v.fen), size: toWhole(v.size), team_minutes: toWhole(v.team_minutes), fills: v.fills, stock: stockBody(v.stock) };
    await studio.open("teams", withMinutes(body, v.minutes), key);
    studio.opened(t("console.teams_opened", { name: titleOf(v.sku) }));
    onClose();
  });
  const { values, set } = form;
  return html`<${FormSheet} title=${t("console.open_teams")} form=${form} send=${t("console.open_now")} onClose=${onClose} wide>
    <${SkuChoice} value=${values.sku} onChoose=${chooseGoods(set)} error=${form.error("sku")} />
    ${values.sku && html`
      <div class="three">
        <${Yuan} label=${t("console.team_price")} ...${form.bind("fen")} hint=${t("console.shop_price", { fen: values.sku.fen })} />
        <${Whole} label=${t("console.team_size")} ...${form.bind("size")} hint=${t("console.team_size_hint")} />
        <${Whole} label=${t("console.team_clock")} ...${form.bind("team_minutes")} hint=${t("console.team_clock_hint")} />
      </div>
      <${Minutes} value=${values.minutes} error=${form.error("minutes")} onInput=${(text) => set("minutes", text)} />
      <label class="row"><input type="checkbox" checked=${values.fills} onChange=${(event) => set("fills", event.target.checked)} /><span>${t("console.team_fills")}<br /><small class="muted">${t("console.team_fills_hint")}</small></span></label>
      <${StockByStore} sku=${values.sku} stores=${studio.place.stores} values=${values.stock} set=${(stock) => set("stock", stock)} error=${form.error} />`}
  <//>`;
}

const NONE = { filling: 0, full: 0, made: 0, failed: 0, paid: 0, held: 0, open: [] };

/** An offer's teams on its card: how many, the seats, and the newest that are not decided. */
export function TeamCounts({ studio, offer }) {
  const board = studio.room.state.get(`teams:${offer.id}`) || NONE;
  const cell = (key, n) => html`<span><b class="num">${n}</b><small>${t(key)}</small></span>`;
  return html`<div class="team">
    <p class="tiny muted">${t("console.team_terms", offer.teams)} · ${t("console.team_seats", board)}</p>
    <div class="count-row">${cell("console.teams_filling", board.filling)}${cell("console.teams_full", board.full)}${cell("console.teams_made", board.made)}${cell("console.teams_failed", board.failed)}</div>
    ${board.open.slice(0, 4).map((one) => html`<div key=${one.id} class="team-row"><span class="small">${t("console.team_no", one)}</span>
      <${Bar} size=${one.size} solid=${one.paid} light=${one.held} label=${t("console.team_bar", one)} /><span class=${cls("small num", one.left === 0 && "is-past")}>${one.paid}${one.held > 0 && `+${one.held}`} / ${one.size}</span></div>`)}
  </div>`;
}
