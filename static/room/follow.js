// Following this room: the button with its count, and the rooms one follows.
import { html, useEffect, useState, cls } from "../shared/dom.js";
import { t, pick, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { Button, Empty, Spinner } from "../shared/parts.js";
import { confirm } from "../shared/dialog.js";

/** Whether this person follows the room: null until it is known. */
export class Follow {
  constructor(shop) {
    this.shop = shop;
    this.on = null;
    this.told = 0; // how often it was said
  }

  clear() {
    this.told += 1;
    this.on = null;
  }

  get path() {
    return `/v1/rooms/${encodeURIComponent(this.shop.id)}`;
  }

  get count() {
    return this.shop.live.state.get("follows")?.followers || 0;
  }

  now(on) {
    this.told += 1;
    this.on = on;
    this.shop.draw();
  }

  async look() {
    if (!viewer.known) return;
    const { told } = this;
    try {
      const { following } = await viewer.get(`${this.path}/follow`);
      if (told === this.told) this.now(following); // or else it was pressed meanwhile, which is newer than what was asked before it
    } catch {
      /* asked again with the next press, which may be sent twice */
    }
  }

  /** `on`: what its button said when it was pressed; somebody who has just said who they are may follow already. */
  async press(on) {
    if (on && !(await confirm({ title: t("follow.stop.title"), text: t("follow.stop.text"), yes: t("follow.stop") }))) return;
    try {
      await viewer.post(`${this.path}/${on ? "unfollow" : "follow"}`);
      this.now(!on);
      this.shop.draws.lookAgain(); // a draw that is entered by following is left with it
      this.shop.say(t(on ? "follow.stopped" : "follow.done"));
    } catch (refusal) {
      this.shop.note(said(refusal), "bad");
    }
  }
}

export function FollowButton({ shop }) {
  const { follow } = shop;
  useEffect(() => {
    follow.look();
  }, [viewer.you?.sub]);
  const on = follow.on === true;
  return html`<button type="button" class=${cls("follow", on && "follow-on")} aria-pressed=${on} onClick=${() => shop.identified(() => follow.press(on))}>${t(on ? "follow.on" : "follow")}</button>`;
}

/** The rooms this person follows, to go there. */
export function Followed({ shop }) {
  const [rooms, set] = useState(null);
  const [failed, fail] = useState(null);
  const ask = () => viewer.get("/v1/me/follows").then((found) => {
    fail(null);
    set(found.rooms);
  }, fail);
  useEffect(() => {
    if (viewer.known) ask();
  }, [viewer.you?.sub, shop.follow.on]);
  if (failed) return html`<p class="note note-bad row between" role="alert"><span>${said(failed)}</span><${Button} kind="btn-sm" onPress=${ask}>${t("retry")}<//></p>`;
  if (viewer.known && !rooms) return html`<${Spinner} />`;
  if (!rooms?.length) return html`<${Empty} title=${t("follow.none")} text=${t("follow.none.text")} />`;
  return html`<ul class="stack">${rooms.map((one) => html`<li key=${one.room}><a class="row between order-row" href=${`/room/${encodeURIComponent(one.room)}`}><b>${pick(one.title)}</b><span class="chip">${t(`index.phase.${one.phase}`)}</span></a></li>`)}</ul>`;
}
