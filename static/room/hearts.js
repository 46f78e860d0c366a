// Hearts that rise over the video: one per tap of ours, a few for everybody else's.
import { html, useEffect, useReducer, useRef } from "../shared/dom.js";

const LIFE = 2_200; // ms, as long as the animation in room.css
const MOST = 24; // on screen
const OTHERS = 3; // per news of others' likes: a hint, not a flood

export function Hearts({ shop }) {
  const hearts = useRef([]);
  const seen = useRef({ mine: 0, all: null, id: 0 });
  const [, again] = useReducer((n) => n + 1, 0);
  const mine = shop.liked;
  const all = shop.live.counts.likes;

  useEffect(() => {
    const { current: was } = seen;
    const own = mine - was.mine;
    const others = was.all === null ? 0 : Math.max(0, all - was.all - own);
    Object.assign(was, { mine, all });
    const n = Math.min(MOST, own + Math.min(OTHERS, others));
    if (!n || document.hidden) return;
    for (let i = 0; i < n; i += 1) hearts.current.push({ id: (was.id += 1), x: Math.random(), tone: Math.floor(Math.random() * 4), late: i < own ? 0 : Math.random() * 500 });
    hearts.current = hearts.current.slice(-MOST);
    const last = was.id;
    again();
    setTimeout(() => {
      hearts.current = hearts.current.filter((one) => one.id > last);
      again();
    }, LIFE + 500);
  }, [mine, all]);

  return html`<div class="hearts" aria-hidden="true">
    ${hearts.current.map((one) => html`<svg key=${one.id} class=${`heart heart-${one.tone}`} viewBox="0 0 24 24" style=${{ right: `${one.x * 44}px`, animationDelay: `${one.late}ms` }}>
      <path fill="currentColor" d="M12 21s-7.500-4.700-9.600-9.200C.8 8.300 2.800 4.500 6.500 4.500c2.300 0 4 1.200 5.500 3.200 1.500-2 3.200-3.200 5.500-3.200 3.700 0 5.700 3.800 4.100 7.300C19.500 16.300 12 21 12 21z" /></svg>`)}
  </div>`;
}
