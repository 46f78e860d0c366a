// Everything that is said in the room, newest below. Reading back holds the list still; muting and withdrawing are two taps away.
import { html, cls, useState, useRef, useLayoutEffect, useEffect } from "/static/shared/dom.js";
import { t, time } from "/static/shared/i18n.js";
import { refused, toast } from "/static/shared/toast.js";
import { Button, Empty } from "/static/shared/parts.js";
import { Key } from "./keys.js";

const NEAR = 60; // px from the lower edge that still count as being there
const SHORT = 10; // minutes of the short mute

function isMuted(studio, who) {
  return (studio.muted.get(who) || 0) > Date.now();
}

function Acts({ studio, comment, close }) {
  const row = useRef(null);
  useLayoutEffect(() => row.current.scrollIntoView({ block: "nearest" }), []);
  const act = (work, done) => async () => {
    try {
      await work();
      toast(done, "good");
      close();
    } catch (refusal) {
      refused(refusal);
    }
  };
  const { who, name, id, gone } = comment;
  const staff = who.startsWith("s:");
  const muted = isMuted(studio, who);
  return html`<div class="said-acts" ref=${row}>
    ${!gone && html`<${Button} kind="btn-sm" onPress=${act(() => studio.withdraw(id), t("console.withdrawn_done"))}>${t("console.withdraw")}<//>`}
    ${!staff && !muted && html`
      <${Button} kind="btn-sm" onPress=${act(() => studio.mute(who, true, SHORT), t("console.muted_for", { name, n: SHORT }))}>${t("console.mute_short", { n: SHORT })}<//>
      <${Button} kind="btn-sm btn-danger" onPress=${act(() => studio.mute(who, true), t("console.muted_good", { name }))}>${t("console.mute_good")}<//>`}
    ${!staff && html`<${Button} kind="btn-sm" onPress=${act(() => studio.mute(who, false), t("console.unmuted", { name }))}>${t("console.unmute")}<//>`}
  </div>`;
}

function Said({ studio, comment, open, setOpen, may }) {
  const { who, name, text, at, demo, gone } = comment;
  return html`<li class=${cls("said", gone && "is-gone", open && "is-open", who.startsWith("s:") && "is-staff")}>
    <div class="said-row">
      <p class="said-text"><span class="said-name">${name || t("console.guest")}</span>
        ${who.startsWith("s:") && html`<span class="tag tag-staff">${t("console.staff")}</span>`}
        ${demo && html`<span class="tag">${t("console.demo")}</span>`}${isMuted(studio, who) && html`<span class="tag tag-bad">${t("console.muted")}</span>`}
        <span class="said-words">${text}</span>${gone && html`<span class="tag tag-bad">${t("console.withdrawn")}</span>`}</p>
      <time class="tiny num muted">${time(at)}</time>
      ${may.moderate && html`<button type="button" class="said-more" aria-expanded=${open} aria-label=${t("console.moderate", { name })} onClick=${() => setOpen(open ? null : comment.id)}>⋯</button>`}
    </div>
    ${open && html`<${Acts} studio=${studio} comment=${comment} close=${() => setOpen(null)} />`}
  </li>`;
}

/** `frozen`: the list stands still although new ones arrive. */
export function Comments({ studio, may, frozen, setFrozen }) {
  const box = useRef(null);
  const [open, setOpen] = useState(null);
  const [away, setAway] = useState(false); // scrolled up
  const held = useRef(null);
  const still = frozen || open !== null;
  if (!still) held.current = null;
  else held.current ||= studio.comments;
  // While still, only withdrawals are taken over.
  const gone = new Set(studio.comments.filter((one) => one.gone).map((one) => one.id));
  const shown = still ? held.current.map((one) => (gone.has(one.id) ? { ...one, gone: true } : one)) : studio.comments;
  const down = () => {
    setFrozen(false);
    setOpen(null);
    setAway(false);
    studio.fresh = 0;
    requestAnimationFrame(() => box.current && (box.current.scrollTop = box.current.scrollHeight));
  };
  useLayoutEffect(() => {
    if (!still && !away && box.current) {
      box.current.scrollTop = box.current.scrollHeight;
      studio.fresh = 0;
    }
  });
  useEffect(() => {
    if (!still && !away) down();
  }, [still]);
  const moved = () => {
    const far = box.current.scrollHeight - box.current.scrollTop - box.current.clientHeight > NEAR;
    if (far !== away) setAway(far);
  };
  return html`<section class="panel comments" aria-label=${t("console.comments")}>
    <div class="panel-head"><h2>${t("console.comments")}</h2>
      <button type="button" class=${cls("btn btn-sm btn-quiet", frozen && "is-on")} aria-pressed=${frozen} onClick=${() => (frozen ? down() : setFrozen(true))}>
        ${t(frozen ? "console.flow" : "console.freeze")}<${Key} of="F" /></button></div>
    <ol class="said-list" ref=${box} onScroll=${moved} tabindex="0" aria-label=${t("console.comments")}>
      ${!shown.length && html`<${Empty} title=${t("console.no_comments")} text=${t("console.no_comments_text")} />`}
      ${shown.map((comment) => html`<${Said} key=${comment.id} studio=${studio} comment=${comment} may=${may} open=${open === comment.id} setOpen=${setOpen} />`)}
    </ol>
    ${(frozen || away) && open === null && studio.fresh > 0 && html`<button type="button" class="btn btn-primary said-new" onClick=${down}>${t("console.new_comments", { n: studio.fresh })}</button>`}
  </section>`;
}
