// The bar at the top of the staff pages: where one is, where one may go, who one is.
import { html, cls, useState, useEffect, useRef } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { LangSwitch } from "/static/shared/parts.js";
import { home, signOut } from "./session.js";

const PLACES = {
  owner: [["/hq", "hq"], ["/console", "console"], ["/store", "store"]],
  host: [["/console", "console"]],
  moderator: [["/console", "console"]],
  clerk: [["/store", "store"]],
  leader: [["/store", "store"]],
};

/** Our sign: a point that sends. */
export function Mark({ size = 28 }) {
  return html`<img class="mark" src="/static/shared/favicon.svg" width=${size} height=${size} alt="" />`;
}

/** `at`: hq, console or store. Children stand between the title and the person. */
export function TopBar({ you, at, title, children }) {
  const places = PLACES[you.role] || [];
  return html`<header class="top">
    <a class="top-home" href=${home(you.role)} aria-label=${t("login.home")}><${Mark} /></a>
    <div class="top-title">${title}</div>
    ${places.length > 1 && html`<nav class="top-nav" aria-label=${t("login.places")}>
      ${places.map(([path, name]) => html`<a key=${name} href=${path} class=${cls("top-link", at === name && "is-here")}
        aria-current=${at === name ? "page" : undefined}>${t(`login.place.${name}`)}</a>`)}
    </nav>`}
    <div class="top-middle">${children}</div>
    <${Account} you=${you} places=${places} at=${at} />
  </header>`;
}

/** The person's menu: name, role, the other pages (phones hide the bar's links), language, sign out. */
export function Account({ you, places = PLACES[you.role] || [], at }) {
  const [open, set] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    const away = (event) => !box.current?.contains(event.target) && set(false);
    const key = (event) => event.key === "Escape" && set(false);
    document.addEventListener("pointerdown", away);
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("keydown", key);
    };
  }, [open]);
  const name = you.name || you.account;
  return html`<div class="account" ref=${box}>
    <button type="button" class="account-btn" aria-expanded=${open} aria-label=${t("login.account_of", { name })} onClick=${() => set(!open)}>
      <span class="face" aria-hidden="true">${[...name][0]}</span><span class="account-name">${name}</span>
    </button>
    ${open && html`<div class="menu">
      <p class="menu-who"><b>${name}</b><span class="muted small">${t(`login.role.${you.role}`)}${you.store ? ` · ${you.store}` : ""}</span></p>
      ${places.filter(([, place]) => place !== at).map(([path, place]) => html`<a key=${place} class="menu-item" href=${path}>${t(`login.place.${place}`)}</a>`)}
      <div class="menu-item menu-lang"><span>${t("login.language")}</span><${LangSwitch} /></div>
      <button type="button" class="menu-item" onClick=${signOut}>${t("login.sign_out")}</button>
    </div>`}
  </div>`;
}

/** A door that did not open: why, and another try. */
export function Stuck({ text, again }) {
  return html`<div class="empty" role="alert"><p class="empty-title">${t("login.stuck")}</p><p>${text}</p>
    ${again && html`<button type="button" class="btn" onClick=${again}>${t("login.again")}</button>`}</div>`;
}
