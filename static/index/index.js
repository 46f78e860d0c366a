// The start page: rooms, doors for staff, and how to begin on an empty database.
import { html, render, cls } from "../shared/dom.js";
import { load, t, pick, useLang } from "../shared/i18n.js";
import { LangSwitch } from "../shared/parts.js";

const { rooms, logins, owned } = JSON.parse(document.getElementById("facts").textContent);
const DOORS = [["console", "/console"], ["store", "/store"], ["hq", "/hq"]];
const ROLES = ["owner", "host", "moderator", "clerk", "leader"];
const name = (title) => (typeof title === "string" ? title : pick(title));

function Start() {
  useLang();
  document.title = t("index.title");
  return html`<div class="start">
    <header class="start-head"><img src="/static/shared/favicon.svg" width="40" height="40" alt="" /><div class="grow"><h1>${t("index.title")}</h1><p class="lead">${t("index.lead")}</p></div><${LangSwitch} /></header>
    <${Rooms} />
    <section><h2>${t("index.doors")}</h2><ul class="doors">${DOORS.map(([key, address]) => html`<li><a class="card door" href=${address}><b>${t(`index.${key}`)}</b><span class="small muted">${t(`index.${key}.text`)}</span></a></li>`)}</ul></section>
    ${logins?.length > 0 && html`<${Logins} />`}
  </div>`;
}

function Rooms() {
  if (!rooms.length && owned) {
    return html`<section class="card begin"><h2>${t("index.empty")}</h2><p>${t("index.owned.text")}</p><a class="btn btn-primary" href="/hq">${t("index.hq")}</a></section>`;
  }
  if (!rooms.length) {
    return html`<section class="card begin"><h2>${t("index.empty")}</h2><p>${t("index.empty.text")}</p><pre class="mono">${t("index.command")}</pre></section>`;
  }
  return html`<section><h2>${t("index.rooms")}</h2><ul class="doors">${rooms.map((room) => html`<li key=${room.id}><a class="card door" href=${`/room/${room.id}`}>
    <span class="row between"><b>${name(room.title)}</b><span class=${cls("chip", room.phase === "live" && "chip-accent")}>${t(`index.phase.${room.phase}`)}</span></span>
    <span class="small enter">${t("index.enter")} →</span></a></li>`)}</ul></section>`;
}

function Logins() {
  return html`<section><h2>${t("index.demo")}</h2><div class="card"><p class="small muted">${t("index.demo.text")}</p>
    <p class="demo-pass">${t("index.demo.password")} <b class="mono">${logins[0].password}</b></p>
    <table class="table logins"><tbody>${ROLES.map((role) => [role, logins.filter((one) => one.role === role)]).filter(([, them]) => them.length).map(([role, them]) => html`<tr key=${role}>
      <th scope="row">${t(`index.role.${role}`)}</th><td>${them.map((one) => html`<span class="mono login-name">${one.account}</span> `)}</td></tr>`)}</tbody></table></div></section>`;
}

await load();
render(html`<${Start} />`, document.getElementById("app"));
