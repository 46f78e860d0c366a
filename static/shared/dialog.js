// Bottom sheet on a phone, dialog on a desk. Traps the focus, closes on Esc and on the backdrop, gives the focus back.
import { html, useLayoutEffect, useRef, useId, useState, cls, render } from "./dom.js";
import { t } from "./i18n.js";

const open = []; // sheets on screen; only the topmost listens to the keyboard
const REACHABLE = 'a[href],button:not([disabled]),input:not([disabled]),select:not([disabled]),textarea:not([disabled]),[tabindex]:not([tabindex="-1"])';

/**
 * <Sheet title="…" onClose=${fn} [wide] [foot=${html`…`}]>…</Sheet>
 * Present in the tree = open. `foot` stays at the lower edge while the rest scrolls. `firm`: the backdrop does not close it.
 */
export function Sheet({ title, onClose, children, foot, wide = false, firm = false, cls: extra }) {
  const box = useRef(null);
  const label = useId();
  const close = useRef(onClose);
  close.current = onClose;

  useLayoutEffect(() => {
    const before = document.activeElement;
    const me = {};
    open.push(me);
    document.documentElement.classList.add("sheet-open");
    const first = box.current.querySelector("[data-first]") || box.current;
    first.focus({ preventScroll: true });
    const key = (event) => {
      if (open[open.length - 1] !== me) return;
      if (event.key === "Escape") {
        event.preventDefault();
        close.current?.();
      } else if (event.key === "Tab") turn(event, box.current);
    };
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("keydown", key);
      open.splice(open.indexOf(me), 1);
      if (!open.length) document.documentElement.classList.remove("sheet-open");
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  return html`<div class="sheet-back" onClick=${(event) => event.target === event.currentTarget && !firm && onClose?.()}>
    <section class=${cls("sheet", wide && "sheet-wide", extra)} role="dialog" aria-modal="true" aria-labelledby=${label} tabindex="-1" ref=${box}>
      <header class="sheet-head">
        <h2 id=${label}>${title}</h2>
        ${onClose && html`<button type="button" class="icon-btn" aria-label=${t("close")} onClick=${onClose}><${Cross} /></button>`}
      </header>
      <div class="sheet-body">${children}</div>
      ${foot && html`<footer class="sheet-foot">${foot}</footer>`}
    </section>
  </div>`;
}

function Cross() {
  return html`<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><path d="M5 5l10 10M15 5L5 15" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" /></svg>`;
}

function turn(event, box) {
  const reachable = [...box.querySelectorAll(REACHABLE)].filter((one) => one.offsetParent !== null);
  if (!reachable.length) return event.preventDefault();
  const first = reachable[0];
  const last = reachable[reachable.length - 1];
  const here = document.activeElement;
  if (event.shiftKey && (here === first || here === box)) {
    event.preventDefault();
    last.focus();
  } else if (!event.shiftKey && here === last) {
    event.preventDefault();
    first.focus();
  }
  return undefined;
}

/** Asks one question. Resolves true on yes; false on no, Esc or the backdrop. */
export function confirm({ title, text, yes, no, danger = false }) {
  return new Promise((answer) => {
    const place = document.createElement("div");
    document.body.append(place);
    const end = (value) => {
      render(null, place);
      place.remove();
      answer(value);
    };
    render(html`<${Question} ...${{ title, text, yes, no, danger, end }} />`, place);
  });
}

function Question({ title, text, yes, no, danger, end }) {
  const [busy, set] = useState(false);
  const agree = () => {
    set(true);
    end(true);
  };
  return html`<${Sheet} title=${title} onClose=${() => end(false)} foot=${html`
    <button type="button" class="btn" data-first onClick=${() => end(false)}>${no || t("cancel")}</button>
    <button type="button" class=${cls("btn", danger ? "btn-danger" : "btn-primary")} disabled=${busy} onClick=${agree}>${yes}</button>`}>
    <p class="lead">${text}</p>
  <//>`;
}
