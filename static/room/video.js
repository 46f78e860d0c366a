// The picture: HLS through hls.js where it works (its latency control is better), else the browser's own; HTTP-FLV through mpegts.js.
// Without a stream, or when it fails, the poster. Shopping never depends on any of it.
import { html, useEffect, useRef, useState, cls } from "../shared/dom.js";
import { t, pick } from "../shared/i18n.js";

const HLS = "/static/vendor/hls/hls.light.min.mjs";
const FLV = "/static/vendor/mpegts/mpegts.js";
const TRIES = 5; // of a lost stream, before saying that the picture is gone
const AGAIN = 3_000; // ms, times the number of the try

async function playHls(video, address, lost) {
  let Hls = null;
  try {
    ({ default: Hls } = await import(HLS));
  } catch {
    /* libraries not installed: the browser may still play it itself */
  }
  if (!Hls?.isSupported()) {
    if (!video.canPlayType("application/vnd.apple.mpegurl")) throw new Error("no HLS here");
    video.src = address;
    video.onerror = () => lost();
    return () => video.removeAttribute("src");
  }
  // No worker: it would need another script address, and decoding one stream is light.
  const player = new Hls({ enableWorker: false, lowLatencyMode: true, liveSyncDurationCount: 2, backBufferLength: 10 });
  player.on(Hls.Events.ERROR, (_, problem) => {
    if (!problem.fatal) return;
    if (problem.type === Hls.ErrorTypes.MEDIA_ERROR) player.recoverMediaError();
    else lost();
  });
  player.loadSource(address);
  player.attachMedia(video);
  return () => player.destroy();
}

function script(address) {
  return new Promise((done, failed) => {
    const tag = document.createElement("script");
    Object.assign(tag, { src: address, onload: done, onerror: failed });
    document.head.append(tag);
  });
}

async function playFlv(video, address, lost) {
  if (!window.mpegts) await script(FLV);
  if (!window.mpegts.isSupported()) throw new Error("no FLV here");
  const player = window.mpegts.createPlayer({ type: "flv", isLive: true, url: address }, { liveBufferLatencyChasing: true });
  player.on(window.mpegts.Events.ERROR, () => lost());
  player.attachMediaElement(video);
  player.load();
  return () => player.destroy();
}

function playFile(video, address, lost) {
  video.src = address;
  video.onerror = () => lost();
  return () => video.removeAttribute("src");
}

function play(video, address, lost) {
  const path = address.split("?")[0];
  if (path.endsWith(".m3u8")) return playHls(video, address, lost);
  if (path.endsWith(".flv")) return playFlv(video, address, lost);
  return playFile(video, address, lost);
}

export function Video({ shop }) {
  const { play_url: address, poster } = shop.facts;
  const { phase } = shop.room;
  const box = useRef(null);
  const [tries, setTries] = useState(0);
  const [shown, setShown] = useState(false);
  const [wide, setWide] = useState(false);
  const [stopped, setStopped] = useState(false); // the browser did not let it start by itself
  const wanted = Boolean(address) && phase === "live" && tries < TRIES;

  useEffect(() => {
    const video = box.current;
    if (!wanted || !video) return undefined;
    let here = true;
    let timer = null;
    let end = () => {};
    const lost = () => {
      if (!here) return;
      here = false;
      timer = setTimeout(() => setTries((n) => n + 1), AGAIN * (tries + 1));
    };
    video.muted = shop.muted;
    Promise.resolve()
      .then(() => play(video, address, lost))
      .then((stop) => {
        end = stop;
        if (here) video.play().catch((error) => error.name === "NotAllowedError" && setStopped(true));
        else stop();
      })
      .catch(() => here && setTries(TRIES));
    return () => {
      here = false;
      clearTimeout(timer);
      setShown(false);
      end();
    };
  }, [wanted, address, tries]);

  // Sound only ever starts from a tap: the button in the head, or one anywhere on the picture while it is silent.
  useEffect(() => {
    box.current.muted = shop.muted;
    if (!shop.muted && wanted) box.current.play().then(() => setStopped(false), () => {});
  }, [shop.muted]);
  useEffect(() => shop.showPicture(shown), [shown]);
  const sound = () => shown && shop.muted && shop.setMuted(false);
  const start = () => box.current.play().then(() => setStopped(false), () => {});
  const ready = () => {
    setShown(true);
    setStopped(false);
    setWide(box.current.videoWidth > box.current.videoHeight);
  };

  return html`<div class=${cls("video", shown && "video-on", wide && "video-wide")} onClick=${sound}>
    <${Poster} src=${poster} title=${pick(shop.room.title)} hidden=${shown} />
    <video ref=${box} playsinline webkit-playsinline="true" x5-playsinline="true" loop disablepictureinpicture onPlaying=${ready} aria-label=${t("room.video")}></video>
    ${stopped && html`<button type="button" class="play" onClick=${start} aria-label=${t("room.play")}><svg viewBox="0 0 24 24" width="34" height="34" aria-hidden="true"><path d="M8 5v14l11-7z" fill="currentColor" /></svg></button>`}
    ${phase === "live" && !shown && html`<${Words} none=${!address} failed=${Boolean(address) && tries >= TRIES} retry=${() => setTries(0)} />`}
  </div>`;
}

function Poster({ src, title, hidden }) {
  const [failed, set] = useState(false);
  if (hidden) return null;
  return src && !failed
    ? html`<img class="poster" src=${src} alt="" onError=${() => set(true)} />`
    : html`<div class="poster poster-none" aria-hidden="true"><span>${title}</span></div>`;
}

function Words({ none, failed, retry }) {
  if (!none && !failed) return null;
  return html`<div class="words"><p>${t(none ? "room.video.none" : "room.video.failed")}</p>
    ${failed && html`<button type="button" class="btn btn-sm" onClick=${retry}>${t("retry")}</button>`}</div>`;
}

export function Speaker({ off }) {
  return html`<svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round">
    <path d="M4 9.5v5h3.5L12 18.5v-13L7.500 9.500z" fill="currentColor" />${off ? html`<path d="M16 9.500l5 5M21 9.500l-5 5" />` : html`<path d="M15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11" />`}</svg>`;
}
