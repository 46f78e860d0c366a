// Head office: a first run that ends in a room, afterwards the overview.
import { html, render, useState, useLoad } from "/static/shared/dom.js";
import { load, t, useLang, said } from "/static/shared/i18n.js";
import { Spinner } from "/static/shared/parts.js";
import { whoAmI, doors, home, list } from "/static/login/session.js";
import { TopBar, Stuck } from "/static/login/frame.js";
import { FirstRun } from "./first.js";
import { Overview } from "./overview.js";

async function everything() {
  const [stores, catalog, rooms] = await Promise.all([doors.get("/v1/stores"), doors.get("/v1/catalog"), doors.get("/v1/rooms")]);
  return { stores: list(stores, "stores"), skus: list(catalog, "skus"), rooms: list(rooms, "rooms") };
}

function Office({ you }) {
  useLang();
  const { data, error, again } = useLoad(everything, []);
  const [first, setFirst] = useState(null); // decided by the first answer, so that the steps do not vanish with the last one
  if (data && first === null) setFirst(!data.stores.length || !data.skus.length || !data.rooms.length);
  document.title = t("hq.title");
  return html`<${TopBar} you=${you} at="hq" title=${t("hq.title")} />
    ${error && !data ? html`<${Stuck} text=${said(error)} again=${again} />`
      : !data || first === null ? html`<${Spinner} />`
      : first ? html`<${FirstRun} held=${data} again=${again} onFinish=${() => setFirst(false)} />`
      : html`<${Overview} you=${you} held=${data} again=${again} />`}`;
}

async function start() {
  await load({ staff: true });
  const app = document.getElementById("app");
  try {
    const { you } = await whoAmI();
    if (you.role !== "owner") location.replace(home(you.role));
    else render(html`<${Office} you=${you} />`, app);
  } catch (refusal) {
    if (!refusal.code) throw refusal;
    render(html`<${Stuck} text=${said(refusal)} again=${() => location.reload()} />`, app);
  }
}

start();
