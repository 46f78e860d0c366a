// The show in figures, the ledger's own; two small curves drawn from what was asked since this page was opened.
import { html, cls, useNow } from "/static/shared/dom.js";
import { t, number, money, pick } from "/static/shared/i18n.js";
import { Sharers } from "./sharers.js";

const OLD = 10_000; // ms without an answer after which the figures are called old: three missed askings
const WIDE = 280;
const HIGH = 44;

/** A curve of numbers as the points of an SVG path. */
export function curve(values, wide = WIDE, high = HIGH) {
  if (values.length < 2) return "";
  const most = Math.max(...values);
  const least = Math.min(...values);
  const span = most - least || 1;
  return values.map((value, n) => `${n ? "L" : "M"}${((n / (values.length - 1)) * wide).toFixed(1)} ${(high - 3 - ((value - least) / span) * (high - 6)).toFixed(1)}`).join("");
}

/** Orders per minute between neighbouring samples, over a window of about half a minute so that it can be read. */
export function pace(samples, window = 10) {
  return samples.map((sample, n) => {
    const before = samples[Math.max(0, n - window)];
    return sample.at > before.at ? Math.max(0, ((sample.orders - before.orders) * 60_000) / (sample.at - before.at)) : 0;
  });
}

function Spark({ label, values, now, tone }) {
  const line = curve(values);
  return html`<figure class=${cls("spark", `spark-${tone}`)}>
    <figcaption><span>${label}</span><b class="num">${now}</b></figcaption>
    <svg viewBox=${`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" role="img" aria-label=${`${label}: ${now}`}>
      ${line && html`<path class="spark-area" d=${`${line}L${WIDE} ${HIGH}L0 ${HIGH}Z`} /><path class="spark-line" d=${line} />`}
    </svg>
  </figure>`;
}

function Tile({ name, value, note, big }) {
  return html`<div class=${cls("tile", big && "tile-big")}><dt>${t(`console.fig.${name}`)}</dt><dd class="num">${value}</dd>${note && html`<dd class="tile-note num">${note}</dd>`}</div>`;
}

export function Figures({ studio }) {
  const { figures, samples } = studio;
  const old = useNow(1000) - (studio.figuresGot || 0) > OLD;
  const f = figures || {};
  const value = (n) => (figures ? number(n ?? 0) : "–");
  const paces = pace(samples);
  return html`<section class="panel figures" aria-label=${t("console.figures")}>
    <div class="panel-head"><h2>${t("console.figures")}</h2>
      <span class=${cls("tiny num", old && figures ? "is-old" : "muted")}>${studio.figuresGot ? t(old ? "console.figures_old" : "console.figures_at", { at: clock(studio.figuresGot) }) : ""}</span></div>
    <div class="panel-body">
      <dl class="tiles">
        <${Tile} big name="paid_fen" value=${figures ? money(f.paid_fen ?? 0) : "–"} note=${f.refunded_fen ? t("console.fig.refunded", { fen: f.refunded_fen }) : ""} />
        <${Tile} name="orders" value=${value(f.orders)} note=${figures ? t("console.fig.paid_orders", { n: f.paid_orders ?? 0 }) : ""} />
        <${Tile} name="units" value=${value(f.units)} note=${figures ? t("console.fig.held", { n: f.held_units ?? 0 }) : ""} />
        <${Tile} name="coupons" value=${value(f.coupons_claimed)} note=${figures ? t("console.fig.used", { n: f.coupons_used ?? 0 }) : ""} />
        <${Tile} name="waiting_pickup" value=${value(f.waiting_pickup)} />
      </dl>
      <${Spark} tone="a" label=${t("console.viewers")} values=${samples.map((one) => one.viewers)} now=${number(studio.room.counts.viewers)} />
      <${Spark} tone="b" label=${t("console.pace")} values=${paces} now=${number(Math.round(paces.at(-1) || 0))} />
      ${f.by_offer?.length > 0 && html`<table class="table by-offer"><thead><tr><th>${t("console.goods")}</th><th class="right">${t("console.sold")}</th><th class="right">${t("console.money")}</th></tr></thead>
        <tbody>${f.by_offer.map((row) => html`<tr key=${row.offer}><td class="ellipsis">${pick(row.name)}${row.state && html` <small class="muted">${t(`console.sale.${row.state}`)}</small>`}</td><td class="right num">${number(row.units)}</td><td class="right num">${money(row.fen)}</td></tr>`)}</tbody></table>`}
      <${Sharers} studio=${studio} />
    </div>
  </section>`;
}

const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { timeZone: "Asia/Shanghai" });
