// A room: its address, its titles and where its video plays from. Used by head office and by the console's first page.
import { html } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { doors } from "/static/login/session.js";
import { useForm, Text, Left } from "/static/login/forms.js";

const ID = /^[a-z0-9_-]{1,32}$/;
const PLAY = /^(|\/[^/\\].*|https?:\/\/.+)$/;

/** `room` given: change it; else make one. `onMade(room)`. */
export function RoomForm({ room, onMade, onCancel }) {
  const form = useForm(
    { id: room?.id || "", title_zh: room?.title.zh || "", title_en: room?.title.en || "", play_url: room?.play_url || "", poster: room?.poster || "" },
    (v) => ({
      id: ID.test(v.id.trim()) ? "" : t("hq.room_id_hint"),
      title_zh: v.title_zh.trim() ? "" : t("login.why.empty"),
      title_en: v.title_en.trim() ? "" : t("login.why.empty"),
      play_url: PLAY.test(v.play_url.trim()) ? "" : t("hq.play_url_hint"),
      poster: PLAY.test(v.poster.trim()) ? "" : t("hq.play_url_hint"),
    }),
    async (v) => {
      const { id, ...rest } = Object.fromEntries(Object.entries(v).map(([name, text]) => [name, text.trim()]));
      onMade(await (room ? doors.post(`/v1/rooms/${encodeURIComponent(id)}`, rest) : doors.post("/v1/rooms", { id, ...rest })));
    },
  );
  return html`<form class="form" onSubmit=${form.submit} novalidate>
    <div class="two">
      <${Text} label=${t("hq.title_zh")} ...${form.bind("title_zh")} maxlength="60" placeholder="春茶开仓夜" first />
      <${Text} label=${t("hq.title_en")} ...${form.bind("title_en")} maxlength="60" placeholder="Spring tea night" />
    </div>
    <${Text} label=${t("hq.room_id")} hint=${t("hq.room_id_hint")} ...${form.bind("id")} maxlength="32" placeholder="spring-tea" autocapitalize="none" spellcheck=${false} disabled=${Boolean(room)} />
    <${Text} label=${t("hq.play_url")} hint=${t("hq.play_url_hint")} ...${form.bind("play_url")} inputmode="url" maxlength="500" placeholder="https://…/live.m3u8" autocapitalize="none" spellcheck=${false} />
    <${Text} label=${t("hq.poster")} hint=${t("hq.poster_hint")} ...${form.bind("poster")} inputmode="url" maxlength="500" placeholder="/media/…" autocapitalize="none" spellcheck=${false} />
    <${Left} form=${form} />
    <div class="row form-foot">${onCancel && html`<button type="button" class="btn" onClick=${onCancel}>${t("hq.cancel")}</button>`}
      <button type="submit" class="btn btn-primary" disabled=${form.busy}>${t(room ? "hq.save" : "hq.make_room")}</button></div>
  </form>`;
}
