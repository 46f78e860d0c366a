// Goods from a spreadsheet: paste it or choose the file. All rows or none; every fault is shown with its row.
import { html, useMemo, useState, useRef } from "/static/shared/dom.js";
import { t, said, number } from "/static/shared/i18n.js";
import { Button } from "/static/shared/parts.js";
import { doors } from "/static/login/session.js";
import { whyText } from "/static/login/forms.js";
import { asCsv, cell, rows as rowsOf } from "/static/hq/csv.js";

const MOST = 2 * 1024 * 1024; // bytes the server takes
const SHOWN = 200; // faults listed; with more, the file is wrong as a whole
const COLUMNS = ["category", "category_zh", "category_en", "product", "product_zh", "product_en", "sku", "sku_zh", "sku_en", "price", "picture"];
const ROWS = [
  ["tea", "茶", "Tea", "longjing", "明前龙井", "Longjing", "longjing-100", "100 克", "100 g", "168", ""],
  ["tea", "茶", "Tea", "longjing", "明前龙井", "Longjing", "longjing-250", "250 克", "250 g", "398", ""],
  ["snack", "点心", "Snacks", "osmanthus", "桂花糕", "Osmanthus cake", "osmanthus-8", "8 枚", "8 pieces", "68.50", ""],
];

/** A file to start from, with one stock column per store. */
export function template(stores) {
  const header = [...COLUMNS, ...stores.map((store) => `stock:${store.code}`)];
  const rows = ROWS.map((row, n) => [...row, ...stores.map(() => String(20 * (n + 1)))]);
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download(stores) {
  // The mark at the start makes spreadsheets read the file as UTF-8.
  const address = URL.createObjectURL(new Blob(["\ufeff", template(stores)], { type: "text/csv;charset=utf-8" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: "goods.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A chosen file's text: UTF-8, else GB 18030, which spreadsheets in China still save. */
async function textOf(file) {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("gb18030").decode(bytes);
  }
}

export function ImportGoods({ stores, onDone }) {
  const [text, setText] = useState("");
  const [name, setName] = useState("");
  const [faults, setFaults] = useState(null);
  const [problem, setProblem] = useState("");
  const [made, setMade] = useState(null);
  const chooser = useRef(null);
  const take = (given, from = "") => {
    setText(given);
    setName(from);
    setFaults(null);
    setProblem("");
    setMade(null);
  };
  const choose = async (file) => {
    if (!file) return;
    if (file.size > MOST) setProblem(t("hq.file_too_large"));
    else take(await textOf(file), file.name);
    chooser.current.value = "";
  };
  const send = async () => {
    setFaults(null);
    setProblem("");
    try {
      const counts = await doors.post("/v1/import", { csv: asCsv(text) });
      setMade(counts);
      onDone(counts);
    } catch (refusal) {
      if (refusal.facts?.errors) setFaults(refusal.facts.errors);
      else setProblem(said(refusal));
    }
  };
  const rows = useMemo(() => rowsOf(text.trim()).length - 1, [text]);
  return html`<div class="form import">
    <p class="lead">${t("hq.import_lead")} <button type="button" class="link-btn" onClick=${() => download(stores)}>${t("hq.template")}</button></p>
    <div class="drop" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => { event.preventDefault(); choose(event.dataTransfer.files[0]); }}>
      <input ref=${chooser} id="csv-file" class="sr-only" type="file" accept=".csv,text/csv,text/plain" onChange=${(event) => choose(event.target.files[0])} />
      <label for="csv-file" class="btn">${t("hq.choose_file")}</label>
      <span class="muted small">${name || t("hq.drop_file")}</span>
    </div>
    <label class="field"><span class="field-label">${t("hq.or_paste")}</span>
      <textarea class="input mono csv" rows="8" wrap="off" spellcheck=${false} value=${text} placeholder=${COLUMNS.join(",")} onInput=${(event) => take(event.target.value)}></textarea>
      <span class="field-hint num">${rows > 0 ? t("hq.rows_n", { n: rows }) : t("hq.import_hint")}</span></label>
    ${problem && html`<p class="note note-bad" role="alert">${problem}</p>`}
    ${made && html`<p class="note note-good" role="status">${t("hq.imported", made)}</p>`}
    ${faults && html`<${Faults} faults=${faults} />`}
    <div class="row form-foot"><${Button} kind="btn-primary" disabled=${rows < 1} onPress=${send}>${t("hq.import")}<//></div>
  </div>`;
}

function Faults({ faults }) {
  return html`<div class="faults" role="alert">
    <p class="note note-bad">${t("hq.faults_n", { n: number(faults.length) })}</p>
    <div class="scroll"><table class="table"><thead><tr><th>${t("hq.row")}</th><th>${t("hq.column")}</th><th>${t("hq.fault")}</th></tr></thead>
      <tbody>${faults.slice(0, SHOWN).map((fault, n) => html`<tr key=${n}><td class="num">${fault.row}</td><td class="mono">${fault.field}</td><td>${whyText(fault.why)}</td></tr>`)}</tbody></table></div>
    ${faults.length > SHOWN && html`<p class="muted small">${t("hq.more_faults", { n: faults.length - SHOWN })}</p>`}
  </div>`;
}
