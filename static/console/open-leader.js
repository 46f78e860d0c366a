// Opening a group leader's group: one price, a cut-off and a minimum, sold from the leader's own point.
import { html, useLoad } from "/static/shared/dom.js";
import { t, pick, said } from "/static/shared/i18n.js";
import { Field } from "/static/shared/parts.js";
import { doors, list } from "/static/login/session.js";
import { useForm, Whole, Yuan, toFen, toWhole, toYuan } from "/static/login/forms.js";
import { SkuChoice, limitFaults, titleOf } from "./goods.js";
import { FormSheet } from "./open.js";

function check(v) {
  if (!v.sku) return { sku: t("console.need_goods") };
  const [size, minimum] = [toWhole(v.size), toWhole(v.minimum)];
  return {
    leader: v.leader ? "" : t("console.leader_choose"),
    fen: toFen(v.fen) > 0 ? "" : t("console.need_price"),
    size: size >= 2 ? "" : t("console.size_least"),
    minimum: minimum >= 1 && (!size || minimum < size) ? "" : t("console.leader_minimum"),
    ...limitFaults(v),
    minutes: v.minutes ? limitFaults(v).minutes : t("console.leader_cut_off"),
  };
}

export function OpenLeaderGroup({ studio, onClose }) {
  const { data, error } = useLoad(() => doors.get("/v1/leaders"), []);
  const leaders = list(data, "leaders");
  const form = useForm({ sku: null, leader: "", fen: "", size: "", minimum: "", per_person: "2", minutes: "60", ...studio.typed }, check, async (v, key) => {
    const numbers = Object.fromEntries(["size", "minimum", "per_person", "minutes"].map((name) => [name, toWhole(v[name])]));
    try {
      await studio.open("leader-groups", { sku: v.sku.code, leader: v.leader, fen: toFen(v.fen), ...numbers }, key);
    } catch (refusal) {
      if (refusal.code === "not_enough_stock") throw Object.assign(refusal, { code: "bad_request", facts: { field: "size", why: `have ${refusal.facts.have ?? 0}` } });
      throw refusal;
    }
    studio.opened(t("console.leader_opened", { name: titleOf(v.sku) }));
    onClose();
  });
  const { values, set } = form;
  const choose = (sku) => {
    set("sku", sku);
    if (sku) set("fen", toYuan(sku.fen));
  };
  const point = (code) => pick(studio.place.stores.find((one) => one.code === code)?.name) || code;
  const there = values.sku?.stock?.[leaders.find((one) => one.account === values.leader)?.store]?.free;
  return html`<${FormSheet} title=${t("console.open_leader")} form=${form} send=${t("console.open_now")} onClose=${onClose} wide>
    ${error && html`<p class="note note-bad" role="alert">${said(error)}</p>`}
    ${data && !leaders.length && html`<p class="note note-warn">${t("console.leader_none")}</p>`}
    <${SkuChoice} value=${values.sku} onChoose=${choose} error=${form.error("sku")} />
    ${values.sku && html`
      <${Field} label=${t("console.leader")} error=${form.error("leader")} hint=${values.leader ? t("console.leader_stock", { n: there ?? 0 }) : ""}>
        <select class="input" value=${values.leader} onChange=${(event) => set("leader", event.target.value)}>
          <option value="">${t("console.leader_choose")}</option>
          ${leaders.map((one) => html`<option key=${one.account} value=${one.account}>${one.name} · ${point(one.store)}</option>`)}
        </select><//>
      <div class="two">
        <${Yuan} label=${t("console.price")} ...${form.bind("fen")} />
        <${Whole} label=${t("console.per_person")} ...${form.bind("per_person")} />
        <${Whole} label=${t("console.leader_units")} ...${form.bind("size")} />
        <${Whole} label=${t("console.minimum")} ...${form.bind("minimum")} hint=${t("console.minimum_hint")} />
      </div>
      <${Whole} label=${t("console.minutes")} ...${form.bind("minutes")} hint=${t("console.leader_cut_off")} />`}
  <//>`;
}
