// Comments over the video, and the row below: say something, shelf, mine, heart.
import { html, useEffect, useRef, useState, useNow, cls } from "../shared/dom.js";
import { t, said } from "../shared/i18n.js";
import { viewer } from "../shared/api.js";
import { newKey } from "../sdk/tap.js";

const MOST = 200; // characters, as the server's own limit
const NEAR = 60; // px from the lower end: still "at the end", so new comments scroll in

/** Text comes from strangers: it is only ever a text node. */
export function Comments({ shop }) {
  const list = useRef(null);
  const follow = useRef(true);
  const last = shop.comments[shop.comments.length - 1]?.id;
  useEffect(() => {
    if (follow.current && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [last]);
  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = list.current;
    follow.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };
  return html`<section class="comments" aria-label=${t("room.comments")} tabindex="0" ref=${list} onScroll=${scrolled}>
    <ol>
      ${shop.comments.map((one) => html`<li key=${one.id} class=${cls("comment", one.who === viewer.you?.sub && "comment-mine")}>
        ${one.demo && html`<span class="demo-mark">${t("demo")}</span>`}<b>${one.name}</b><span>${one.text}</span></li>`)}
    </ol>
    ${!shop.comments.length && shop.live.status === "live" && html`<p class="comments-none">${t("room.comments.empty")}</p>`}
  </section>`;
}

export function Composer({ shop }) {
  const [text, setText] = useState("");
  const [wait, setWait] = useState(0); // epoch ms until which the server wants quiet
  const [busy, setBusy] = useState(false);
  const cid = useRef(null); // of the text in the field: sent again under it, it is said once
  const now = useNow(250, wait > Date.now());
  const quiet = Math.ceil((wait - now) / 1000);
  const closed = shop.room.phase === "ended";
  const open = shop.offers().filter((one) => one.open).length;
  const unpaid = [...shop.orders.values()].filter((one) => one.state === "AWAIT_PAY").length;

  const send = async (event) => {
    event.preventDefault();
    const said_ = text.trim();
    if (!said_ || busy || quiet > 0) return;
    setBusy(true);
    try {
      await shop.live.say(said_, (cid.current ||= newKey()));
      cid.current = null;
      setText("");
    } catch (refusal) {
      if (refusal.code === "slow_down") setWait(Date.now() + (refusal.facts.wait || 1000));
      else shop.note(said(refusal), "bad");
    } finally {
      setBusy(false);
    }
  };

  return html`<footer class="foot">
    <form class="say" onSubmit=${send}>
      <input class="say-input" value=${text} maxlength=${MOST} enterkeyhint="send" autocomplete="off" disabled=${closed} placeholder=${t("room.say")} aria-label=${t("room.say")}
        onInput=${(event) => { cid.current = null; setText(event.target.value); }} />
      ${quiet > 0 ? html`<span class="say-wait num" role="status">${t("room.wait", { n: quiet })}</span>`
        : text.trim() && !closed && html`<button class="say-send" disabled=${busy}>${t("room.send")}</button>`}
    </form>
    <button type="button" class="foot-btn foot-shelf" onClick=${() => shop.open("shelf")}><${Bag} />${open > 0 && html`<span class="count num">${open}</span>`}<span class="foot-word">${t("room.shelf")}</span></button>
    <button type="button" class="foot-btn" onClick=${() => shop.open("mine")}><${Person} />${unpaid > 0 && html`<span class="count num">${unpaid}</span>`}<span class="foot-word">${t("room.me")}</span></button>
    <button type="button" class="foot-btn foot-heart" aria-label=${t("room.like")} disabled=${closed} onClick=${() => shop.like()}><${Heart} /></button>
  </footer>`;
}

const stroke = { fill: "none", stroke: "currentColor", "stroke-width": "1.8", "stroke-linecap": "round", "stroke-linejoin": "round" };
const Bag = () => html`<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" ...${stroke}><path d="M5 8h14l-1 12H6zM9 10V7a3 3 0 0 1 6 0v3" /></svg>`;
const Person = () => html`<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" ...${stroke}><circle cx="12" cy="8" r="3.600" /><path d="M5 20c.6-4 3.400-6 7-6s6.400 2 7 6" /></svg>`;
const Heart = () => html`<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path fill="currentColor" d="M12 20.500s-7-4.400-9-8.600C1.500 8.600 3.400 5 6.800 5c2.200 0 3.800 1.100 5.200 3 1.400-1.900 3-3 5.200-3 3.400 0 5.300 3.600 3.800 6.900-2 4.200-9 8.600-9 8.600z" /></svg>`;
