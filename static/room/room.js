// Starts the room page: texts, the room's facts, the socket, then the first drawing.
import { html, render } from "../shared/dom.js";
import { load, t } from "../shared/i18n.js";
import { call } from "../shared/api.js";
import { Empty } from "../shared/parts.js";
import { App } from "./app.js";
import { Shop } from "./shop.js";
import { wechatReturn } from "./pay.js";

const AGAIN = 3_000; // ms between tries when the shop cannot be reached
const place = document.getElementById("app");
const id = document.body.dataset.room;

async function facts() {
  for (;;) {
    try {
      return await call("GET", `/v1/rooms/${encodeURIComponent(id)}`);
    } catch (refusal) {
      if (refusal.status === 404 || refusal.status === 422) return null;
      render(html`<p class="boot" role="status">${t("room.reconnecting")}</p>`, place);
      await new Promise((done) => setTimeout(done, AGAIN * (0.5 + Math.random())));
    }
  }
}

await load();
const room = await facts();
place.textContent = "";
if (room === null) {
  render(html`<div class="page"><${Empty} title=${t("room.missing.title")} text=${t("room.missing.text")}><a class="btn" href="/">${t("room.home")}</a><//></div>`, place);
} else {
  await wechatReturn();
  const shop = new Shop(room, Boolean(document.body.dataset.demo) || room.demo);
  render(html`<${App} shop=${shop} />`, place);
  shop.start();
}
