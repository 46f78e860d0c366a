// Short notes at the edge of the page, read out by screen readers. toast("…"), toast("…", "bad" | "good").
import { html, render, useStore, Listeners } from "./dom.js";
import { said } from "./i18n.js";

const STAY = { plain: 3200, good: 3200, bad: 5200 }; // ms; bad news takes longer to read
const MOST = 3; // more would hide the page
const store = new Listeners();
let shown = [];
let count = 0;
let mounted = false;

export function toast(text, tone = "plain") {
  const id = ++count;
  shown = [...shown.filter((one) => one.text !== text), { id, text, tone }].slice(-MOST);
  if (mounted) store.tell();
  else mount(); // drawn with this one: nobody listens to the store yet
  setTimeout(() => dismiss(id), STAY[tone] || STAY.plain);
}

/** Shows a refusal in the visitor's language. */
export const refused = (refusal) => toast(said(refusal), "bad");

function dismiss(id) {
  shown = shown.filter((one) => one.id !== id);
  store.tell();
}

function Toasts() {
  useStore(store);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.map((one) => html`<div key=${one.id} class=${`toast toast-${one.tone}`} onClick=${() => dismiss(one.id)}>${one.text}</div>`)}
  </div>`;
}

function mount() {
  mounted = true;
  const place = document.createElement("div");
  document.body.append(place);
  render(html`<${Toasts} />`, place);
}
