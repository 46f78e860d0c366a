// Small parts every page uses.
import { html, cls, useState, useEffect, useRef, useNow } from "./dom.js";
import { t, lang, choose, countdown, money } from "./i18n.js";

/** A button that shows that it works while its async `onPress` runs, and cannot be pressed twice. */
export function Button({ onPress, kind = "", disabled = false, children, type = "button", first = false, label }) {
  const [busy, set] = useState(false);
  const here = useRef(true);
  useEffect(() => () => {
    here.current = false;
  }, []);
  const press = async (event) => {
    if (busy || !onPress) return;
    set(true);
    try {
      await onPress(event);
    } finally {
      if (here.current) set(false);
    }
  };
  return html`<button type=${type} class=${cls("btn", kind)} disabled=${disabled || busy} aria-busy=${busy} aria-label=${label}
    data-first=${first || undefined} onClick=${onPress && press}>${busy && html`<span class="spin" aria-hidden="true"></span>`}${children}</button>`;
}

/**
 * A bar of `size`: `solid` filled (paid), `light` hatched behind it (held), an optional `mark` (minimum).
 * `steps`: positions of price steps. `label` is what a screen reader says.
 */
export function Bar({ size, solid, light = 0, mark = null, steps = [], label }) {
  const share = (n) => `${Math.max(0, Math.min(100, size ? (n / size) * 100 : 0))}%`;
  return html`<div class="bar" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax=${size} aria-valuenow=${solid}>
    <i class="bar-light" style=${{ width: share(solid + light) }}></i>
    <i class="bar-solid" style=${{ width: share(solid) }}></i>
    ${steps.map((at) => html`<i class=${cls("bar-step", solid >= at && "bar-passed")} style=${{ left: share(at) }}></i>`)}
    ${mark !== null && mark > 0 && mark < size && html`<i class="bar-mark" style=${{ left: share(mark) }}></i>`}
  </div>`;
}

/** SVG text as a picture: never as markup of this page, so whatever it holds cannot run. */
export const svgAddress = (svg) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;

export function Svg({ svg, label, class: extra }) {
  return html`<img class=${extra} src=${svgAddress(svg)} alt=${label} />`;
}

/** A product's picture; a quiet tile with the first character of `name` when there is none or it fails. */
export function Picture({ src, name = "", class: extra, large = false }) {
  const [failed, set] = useState(false);
  useEffect(() => set(false), [src]);
  if (src && !failed) {
    return html`<img class=${cls("picture", large && "picture-large", extra)} src=${src} alt="" loading="lazy" decoding="async" onError=${() => set(true)} />`;
  }
  return html`<span class=${cls("picture picture-none", large && "picture-large", extra)} aria-hidden="true">${[...name][0] || "·"}</span>`;
}

/** Money, the struck-out old price beside it when it is higher. */
export function Price({ fen, was = 0 }) {
  return html`<span class="price"><span class="num">${money(fen)}</span>${was > fen && html` <s class="num">${money(was)}</s>`}</span>`;
}

/** Time left until `until` (epoch ms, server's clock; `skew` = server − here). Calls `onEnd` once. */
export function Countdown({ until, skew = 0, onEnd, class: extra }) {
  const now = useNow(500) + skew;
  const ended = now >= until;
  useEffect(() => {
    if (ended) onEnd?.();
  }, [ended]);
  return html`<span class=${cls("num", extra)} role="timer">${countdown(until - now)}</span>`;
}

/** Nothing here yet: what it is, and what to do. */
export function Empty({ title, text, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${text && html`<p>${text}</p>`}${children}</div>`;
}

export function Spinner({ label }) {
  return html`<div class="waiting" role="status"><span class="spin" aria-hidden="true"></span><span>${label || t("loading")}</span></div>`;
}

/** A labelled input. `hint` under it, `error` instead of the hint. */
export function Field({ label, hint, error, children }) {
  return html`<label class="field"><span class="field-label">${label}</span>${children}
    ${error ? html`<span class="field-error" role="alert">${error}</span>` : hint && html`<span class="field-hint">${hint}</span>`}</label>`;
}

/** How many, from 1 to `most`. */
export function Stepper({ value, most, onChange, label }) {
  const to = (n) => onChange(Math.max(1, Math.min(most, n)));
  return html`<div class="stepper" role="group" aria-label=${label}>
    <button type="button" aria-label=${t("less")} disabled=${value <= 1} onClick=${() => to(value - 1)}>−</button>
    <output class="num" aria-live="polite">${value}</output>
    <button type="button" aria-label=${t("more")} disabled=${value >= most} onClick=${() => to(value + 1)}>+</button>
  </div>`;
}

/** 中文 / English. */
export function LangSwitch({ class: extra }) {
  const other = lang() === "zh" ? "en" : "zh";
  return html`<button type="button" class=${cls("lang-switch", extra)} lang=${other} onClick=${() => choose(other)}>${other === "zh" ? "中文" : "English"}</button>`;
}
