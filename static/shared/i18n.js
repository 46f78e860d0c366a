// Texts and formats. One flat catalogue per language in /static/i18n, pages for staff add staff.<lang>.json. zh is the default.
import { Listeners, keep, useStore } from "./dom.js";

const LANGS = ["zh", "en"];
const LOCALE = { zh: "zh-CN", en: "en-GB" };
const ZONE = "Asia/Shanghai"; // the shop's own clock: pickup hours and deadlines are meant there
const ZONE_AHEAD = 8 * 3_600_000; // ms
const AGAIN = 2_000; // ms after which texts that did not come are asked for again, more or less
const listeners = new Listeners();
let catalogue = {};
let current = "zh";
let wanted = [""];

/** What the visitor wants: `?lang=`, an earlier choice, the page's own `<html lang>`, the browser, then zh. */
export function preferred() {
  const asked = new URLSearchParams(location.search).get("lang");
  const tried = [asked, keep.get("live.lang"), document.documentElement.dataset.lang, ...(navigator.languages || [])];
  for (const one of tried) {
    const short = String(one || "").slice(0, 2).toLowerCase();
    if (LANGS.includes(short)) return short;
  }
  return "zh";
}

async function read(name) {
  const answer = await fetch(`/static/i18n/${name}.json`);
  if (!answer.ok) throw new Error(`catalogue ${name}: ${answer.status}`);
  return answer.json();
}

/** Loads the catalogues before a page draws. `staff: true` adds the texts of console, desk and head office. */
export async function load({ lang = preferred(), staff = false } = {}) {
  wanted = staff ? ["", "staff."] : [""];
  for (;;) {
    try {
      return await choose(lang, false);
    } catch {
      await new Promise((done) => setTimeout(done, AGAIN * (0.5 + Math.random())));
    }
  }
}

/** Changes the language in place and remembers it. */
export async function choose(lang, remember = true) {
  const parts = await Promise.all(wanted.map((prefix) => read(prefix + lang)));
  catalogue = Object.assign({}, ...parts);
  current = lang;
  document.documentElement.lang = LOCALE[lang];
  if (remember) {
    keep.set("live.lang", lang);
    document.cookie = `lang=${lang}; path=/; max-age=31536000; samesite=lax`; // for the words the server renders
  }
  listeners.tell();
}

export const lang = () => current;
export const locale = () => LOCALE[current];

const STORE = { subscribe: (listener) => listeners.subscribe(listener) };
/** Renders the component again when the language changes; call it once, at a page's root. */
export const useLang = () => {
  useStore(STORE);
  return current;
};

const FORMS = {
  money: (value) => money(value),
  time: (value) => time(value),
  date: (value) => date(value),
  seconds: (value) => String(Math.max(1, Math.ceil(value))),
  ms: (value) => String(Math.max(1, Math.ceil(value / 1000))), // milliseconds, said as whole seconds
  number: (value) => number(value),
  short: (value) => short(value),
  one: (value, [one, many]) => (Number(value) === 1 ? one : many), // {n|one:unit:units}
};

/** The text of `key`. `{name}` is put in as it is, `{fen|money}` formatted; a key without text shows itself. */
export function t(key, facts = {}) {
  const text = catalogue[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)(?:\|(\w+)((?::[^:}]*)*))?\}/g, (whole, name, form, rest) => {
    const value = facts[name];
    if (value === undefined || value === null) return "";
    return form ? FORMS[form](value, rest.split(":").slice(1)) : String(value);
  });
}

/** Whether the catalogue knows `key`. */
export const has = (key) => catalogue[key] !== undefined;

/** A {zh, en} pair in the current language; the other one when this one is empty. */
export const pick = (names) => (names ? names[current] || names.zh || names.en || "" : "");

/** The sentence for a refusal: {code, …facts} or anything with `.code` and `.facts`. */
export function said(refusal) {
  const code = refusal?.code || "unavailable";
  const key = `no.${code}`;
  return has(key) ? t(key, refusal.facts || refusal) : t("no.unavailable");
}

/** Fen as money, without ".00" where nothing is lost: 12900 is ¥129, 12950 is ¥129.50. */
export function money(fen) {
  const whole = fen % 100 === 0;
  const digits = new Intl.NumberFormat(LOCALE[current], { minimumFractionDigits: whole ? 0 : 2, maximumFractionDigits: 2 });
  return `${fen < 0 ? "-" : ""}¥${digits.format(Math.abs(fen) / 100)}`;
}

export const number = (value) => new Intl.NumberFormat(LOCALE[current]).format(value);

/** A count for a tight place: 12,345 is 1.2万 or 12K. */
export const short = (value) =>
  new Intl.NumberFormat(LOCALE[current], { notation: value >= 10000 ? "compact" : "standard", maximumFractionDigits: 1 }).format(value);

/** Clock time of epoch ms, in the shop's time zone. */
export const time = (at) => new Intl.DateTimeFormat(LOCALE[current], { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: ZONE }).format(at);

/** Day and clock time of epoch ms, in the shop's time zone. */
export const date = (at) =>
  new Intl.DateTimeFormat(LOCALE[current], {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false, timeZone: ZONE,
  }).format(at);

/** A moment (epoch ms) as an input of day and time holds it, and back: in the shop's time zone too, which has no summer time. */
export const typedMoment = (at) => new Date(at + ZONE_AHEAD).toISOString().slice(0, 16);
export const momentOf = (typed) => new Date(`${typed}Z`).getTime() - ZONE_AHEAD;

/** Milliseconds left as 4:05 or 1:02:03; never below 0:00. */
export function countdown(ms) {
  const all = Math.max(0, Math.ceil(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor(all / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

/** Metres as 350 m or 2.4 km. */
export function distance(metres) {
  const far = metres >= 1000;
  return new Intl.NumberFormat(LOCALE[current], {
    style: "unit", unit: far ? "kilometer" : "meter", maximumFractionDigits: far ? 1 : 0,
  }).format(far ? metres / 1000 : Math.round(metres / 10) * 10);
}
