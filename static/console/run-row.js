// A row of the run sheet is filled in with the very form that does it by hand; only when and for whom is asked above it.
import { html, useState, useRef } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Sheet } from "/static/shared/dialog.js";
import { Spinner } from "/static/shared/parts.js";
import { useForm, Whole, Text, toWhole, toYuan } from "/static/login/forms.js";
import { FormSheet, Later, OpenSale, OpenCoupon } from "./open.js";
import { conditionTyped } from "./conditions.js";
import { OpenGroup } from "./open-group.js";
import { OpenLeaderGroup } from "./open-leader.js";
import { OpenTeams } from "./open-team.js";
import { OpenDraw, OpenPacket } from "./open-giveaway.js";
import { SkuChoice, useCatalogue, titleOf } from "./goods.js";
import { kindKey, refusedRow } from "./run-cue.js";

const LAST_MINUTE = 1440; // as the server
const IN_FEN = new Set(["fen", "off", "threshold"]); // settings that are typed in yuan
const NO_OFFER = new Set(["pin", "draw"]); // kinds that open nothing which could be explained

/** A kind that can be planned, and its form. A new kind is one line. */
export const FORMS = { sale: OpenSale, coupon: OpenCoupon, group: OpenGroup, team: OpenTeams, leader: OpenLeaderGroup, packet: OpenPacket, draw: OpenDraw, pin: PinProduct };

function PinProduct({ studio, onClose }) {
  const form = useForm({ sku: null, ...studio.typed }, (v) => ({ sku: v.sku ? "" : t("console.need_goods") }), async (v) => {
    await studio.open("pin", { sku: v.sku.code });
    studio.opened(titleOf(v.sku));
    onClose();
  });
  return html`<${FormSheet} title=${t("run.kind.pin")} form=${form} send=${t("console.pin")} onClose=${onClose} wide>
    <${SkuChoice} value=${form.values.sku} onChoose=${(sku) => form.set("sku", sku)} error=${form.error("sku")} />
    <p class="small muted">${t("run.pin_hint")}</p>
  <//>`;
}

/** Settings as a form holds them, typed. What a row has taken of a store's stock for itself is no fault of it when it is opened again. */
function typedOf(kind, settings, skus) {
  const text = (name, value) => (IN_FEN.has(name) ? toYuan(value) : typeof value === "number" ? String(value) : value ?? "");
  const plain = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, text(name, value)]));
  const typed = { minutes: "", ...plain(settings) };
  if (kind === "coupon") Object.assign(typed, conditionTyped(settings));
  if (kind === "draw") typed.prize = settings.points ? "points" : settings.off ? "coupon" : "text";
  if (settings.currency === "coupon") typed.sum = toYuan(settings.sum);
  if (settings.tiers) typed.tiers = settings.tiers.map(plain);
  if (settings.stock) typed.stock = plain(settings.stock);
  const sku = skus.find((one) => one.code === settings.sku);
  if ("sku" in settings) typed.sku = sku ? { ...sku, stock: enough(sku.stock, settings.stock || {}) } : null;
  return typed;
}

const enough = (stock, units) =>
  Object.fromEntries(Object.entries(stock || {}).map(([code, level]) => [code, { ...level, free: Math.max(level.free, units[code] || 0) }]));

/** `row`: to change, or {kind, minute} of a new one. */
export function RowForm({ studio, row, onClose }) {
  const { skus, error } = useCatalogue();
  if (!skus && !error) return html`<${Sheet} title=${t(kindKey(row.kind))} onClose=${onClose}><${Spinner} /><//>`;
  return html`<${Filled} studio=${studio} row=${row} skus=${skus || []} onClose=${onClose} />`;
}

function Filled({ studio, row, skus, onClose }) {
  const [minute, setMinute] = useState(String(row.minute));
  const [note, setNote] = useState(row.note || "");
  const [pins, setPins] = useState(Boolean(row.pins));
  const [typed] = useState(() => (row.settings ? typedOf(row.kind, row.settings, skus) : {}));
  const now = useRef({});
  now.current = { minute, note, pins };
  const fault = toWhole(minute) === null || toWhole(minute) > LAST_MINUTE ? t("login.why.between", { a: 0, b: LAST_MINUTE }) : "";
  const [planner] = useState(() => ({
    place: studio.place,
    room: studio.room,
    live: true,
    typed,
    opened: () => toast(t("run.saved"), "good"),
    open: (_, settings) => save(studio, row, settings, now.current),
  }));
  const above = html`<div class="plan-row">
    <${Whole} label=${t("run.minute_label")} value=${minute} onInput=${setMinute} error=${fault} hint=${t("run.minute_hint")} first />
    <${Text} label=${t("run.note")} value=${note} onInput=${setNote} maxlength="500" placeholder=${t("run.note_hint")} />
    ${!NO_OFFER.has(row.kind) && html`<label class="row plan-pins"><input type="checkbox" checked=${pins} onChange=${(event) => setPins(event.target.checked)} /><span>${t("run.pins")}</span></label>`}
  </div>`;
  const Form = FORMS[row.kind];
  return html`<${Later.Provider} value=${{ title: t("run.title"), send: t("run.save"), above }}><${Form} studio=${planner} onClose=${onClose} /><//>`;
}

async function save(studio, row, settings, { minute, note, pins }) {
  const body = { kind: row.kind, minute: toWhole(minute), note, pins, settings };
  try {
    await studio.run.save(row.id ? row : null, body);
  } catch (refusal) {
    if (refusal.facts?.field) refusal.facts.field = refusal.facts.field.replace(/^settings\./, ""); // the form knows its own fields
    if (refusal.code === "state") refusedRow(refusal);
    throw refusal;
  }
}
