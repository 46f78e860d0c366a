// Keyboard shortcuts: single letters, only while nobody types and nothing lies over the page.
import { html, useEffect, useRef } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { Sheet } from "/static/shared/dialog.js";

const TYPING = "input, textarea, select, [contenteditable]";

/** `acts`: {letter: () => …}. */
export function useKeys(acts) {
  const held = useRef(acts);
  held.current = acts;
  useEffect(() => {
    const key = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
      if (event.target.closest?.(TYPING) || document.querySelector(".sheet-back")) return;
      const act = held.current[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
}

export const Key = ({ of }) => html`<kbd class="kbd" aria-hidden="true">${of}</kbd>`;

const HELP = [["S", "sale"], ["C", "coupon"], ["G", "group"], ["H", "packet"], ["D", "draw"], ["T", "teams"], ["N", "next"], ["R", "run"], ["P", "pin"], ["U", "unpin"], ["B", "begin"], ["F", "freeze"], ["?", "help"]];

export function Help({ onClose }) {
  return html`<${Sheet} title=${t("console.keys")} onClose=${onClose}>
    <dl class="keys">${HELP.map(([letter, name]) => html`<div key=${name}><dt><${Key} of=${letter} /></dt><dd>${t(`console.key.${name}`)}</dd></div>`)}</dl>
    <p class="muted small">${t("console.keys_note")}</p>
  <//>`;
}
