// The run sheet: every act of the show in its order, with when it was meant and when it was. Prepared before the show or during it.
import { html, cls, useState, useRef, useNow } from "/static/shared/dom.js";
import { t, pick, time, said } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { confirm, Sheet } from "/static/shared/dialog.js";
import { Button, Empty, Spinner } from "/static/shared/parts.js";
import { doors, list } from "/static/login/session.js";
import { whyText } from "/static/login/forms.js";
import { RowForm, FORMS } from "./run-row.js";
import { kindKey, lateText, refusedRow, rowTitle, startRow } from "./run-cue.js";

/** What a row's buttons do: says why when it may not. */
const act = (work) => async () => {
  try {
    await work();
  } catch (refusal) {
    if (!refusal.code) throw refusal;
    refusedRow(refusal);
  }
};

async function remove(studio, row) {
  const yes = await confirm({ title: t("run.delete_title"), text: rowTitle(row), yes: t("run.delete"), danger: true });
  if (yes) await act(() => studio.run.remove(row))();
}

function Acts({ studio, row, n, edit }) {
  const { run } = studio;
  const planned = row.state === "PLANNED";
  const before = run.rows[n - 1];
  const after = run.rows[n + 2];
  return html`<div class="run-acts">
    ${planned && html`
      <button type="button" class="btn btn-sm" disabled=${!FORMS[row.kind]} onClick=${() => edit(row)}>${t("run.edit")}</button>
      <${Button} kind="btn-sm" disabled=${!before} onPress=${act(() => run.move(row, before.id))}>${t("run.up")}<//>
      <${Button} kind="btn-sm" disabled=${n === run.rows.length - 1} onPress=${act(() => run.move(row, after?.id ?? null))}>${t("run.down")}<//>
      <${Button} kind="btn-sm" onPress=${act(() => run.skip(row))}>${t("run.skip")}<//>`}
    <${Button} kind="btn-sm" onPress=${act(() => run.duplicate(row))}>${t("run.duplicate")}<//>
    ${planned && html`<${Button} kind="btn-sm btn-danger" onPress=${() => remove(studio, row)}>${t("run.delete")}<//>`}
  </div>`;
}

/** When and by whom, for what is decided. */
function Done({ row }) {
  const late = row.late === null ? null : lateText(row.late);
  return html`<p class="small muted num">${t(`run.state.${row.state}`)} · ${time(row.at)} · ${row.by || t("console.staff")}${late && html` · <span class=${row.late >= 30 && "is-old"}>${late}</span>`}</p>`;
}

function Row({ studio, row, n, open, setOpen, edit }) {
  const { sheet } = studio.run;
  const planned = row.state === "PLANNED";
  return html`<li class=${cls("run-row", `is-${row.state.toLowerCase()}`, row.id === sheet.next && "is-next")}>
    <div class="run-line">
      <span class="run-minute num"><b>${t("run.minute", { n: row.minute })}</b>${sheet.began && html`<small class="muted">${time(sheet.began + row.minute * 60_000)}</small>`}</span>
      <div class="grow"><p class="run-name"><span class=${`tag tag-${row.kind}`}>${t(kindKey(row.kind))}</span> <b>${rowTitle(row)}</b>${row.pins && html` <span class="tag tag-pin">${t("run.kind.pin")}</span>`}</p>
        ${row.note && html`<p class="small muted run-note">${row.note}</p>`}${!planned && html`<${Done} row=${row} />`}</div>
      ${planned && html`<${Button} kind=${cls("btn-sm", row.id === sheet.next && "btn-soft")} disabled=${!studio.live} label=${t("run.start_named", { name: rowTitle(row) })} onPress=${() => startRow(studio, row)}>${t("run.start")}<//>`}
      <button type="button" class="said-more" aria-expanded=${open} aria-label=${t("run.more", { name: rowTitle(row) })} onClick=${() => setOpen(open ? null : row.id)}>⋯</button>
    </div>
    ${open && html`<${Acts} studio=${studio} row=${row} n=${n} edit=${edit} />`}
  </li>`;
}

function Summary({ studio }) {
  const { sheet, rows } = studio.run;
  const now = useNow(1000, Boolean(sheet.began));
  const behind = studio.run.behind(now);
  const left = rows.filter((row) => row.state === "PLANNED").length;
  return html`<p class="run-sum small num">${t("run.sum", { left, all: rows.length, length: sheet.length })}
    ${sheet.began && html` · ${t("run.going", { n: Math.max(0, Math.floor((now + studio.run.skew - sheet.began) / 60_000)) })}`}
    ${behind !== null && html` · <b class=${behind >= 30 && "is-old"}>${lateText(behind)}</b>`}</p>`;
}

/** From another room or from a file; what is wrong is listed with its row. */
function Bring({ studio }) {
  const [rooms, setRooms] = useState(null);
  const [faults, setFaults] = useState(null);
  const file = useRef(null);
  const take = (work) => async () => {
    setFaults(null);
    try {
      await work();
      toast(t("run.brought"), "good");
      setRooms(null);
    } catch (refusal) {
      if (!refusal.code) throw refusal;
      const { errors, field, why } = refusal.facts || {};
      if (errors) setFaults(errors.map((one) => t("run.fault", { row: one.row, field: one.field, why: whyText(one.why) })));
      else if (refusal.code === "not_found") setFaults([t("run.no_sheet")]);
      else setFaults([field && why ? `${field}: ${whyText(why)}` : said(refusal)]);
    }
  };
  const read = async (chosen) => {
    if (!chosen) return;
    const text = await chosen.text();
    file.current.value = "";
    await take(async () => {
      let rows;
      try {
        ({ rows } = JSON.parse(text));
      } catch {
        rows = null;
      }
      if (!Array.isArray(rows)) throw Object.assign(new Error("file"), { code: "bad_request", facts: { field: t("run.file"), why: "not JSON" } });
      await studio.run.bring(rows);
    })();
  };
  const ask = act(async () => setRooms(list(await doors.get("/v1/rooms"), "rooms").filter((room) => room.id !== studio.id)));
  return html`<div class="run-bring">
    <div class="row row-wrap">
      <${Button} kind="btn-sm btn-quiet" onPress=${ask}>${t("run.copy")}<//>
      <label class="btn btn-sm btn-quiet" for="run-file">${t("run.import")}</label>
      <input ref=${file} id="run-file" class="sr-only" type="file" accept=".json,application/json" onChange=${(event) => read(event.target.files[0])} />
      ${studio.run.rows.length > 0 && html`<a class="btn btn-sm btn-quiet" href=${`${studio.run.path}/export`} download>${t("run.export")}</a>`}
    </div>
    ${rooms && html`<ul class="run-rooms">${rooms.map((room) => html`<li key=${room.id}><${Button} kind="btn-sm" onPress=${take(() => studio.run.copy(room.id))}>${pick(room.title)} · ${room.id}<//></li>`)}
      ${!rooms.length && html`<li class="muted small">${t("run.no_rooms")}</li>`}</ul>`}
    ${faults && html`<div class="note note-bad" role="alert">${faults.map((text) => html`<p key=${text}>${text}</p>`)}</div>`}
  </div>`;
}

export function RunPanel({ studio, onClose }) {
  const { sheet, error, rows } = studio.run;
  const [open, setOpen] = useState(null);
  const [form, setForm] = useState(null); // the row that is filled in
  const last = rows.length ? rows[rows.length - 1].minute : -5;
  const adds = html`<div class="run-add" role="group" aria-label=${t("run.add")}>${Object.keys(FORMS).map((kind) => html`
    <button key=${kind} type="button" class="btn btn-sm" onClick=${() => setForm({ kind, minute: last + 5 })}>+ ${t(kindKey(kind))}</button>`)}</div>`;
  return html`<${Sheet} title=${t("run.title")} onClose=${onClose} wide cls="run-sheet" foot=${sheet && adds}>
    ${error && html`<p class="note note-bad" role="alert">${said(error)}</p>`}
    ${!sheet ? !error && html`<${Spinner} />` : html`
      ${rows.length > 0 && html`<${Summary} studio=${studio} />`}
      ${!rows.length && html`<${Empty} title=${t("run.empty")} text=${t("run.empty_text")} />`}
      <ol class="run-rows">${rows.map((row, n) => html`<${Row} key=${row.id} studio=${studio} row=${row} n=${n} open=${open === row.id} setOpen=${setOpen} edit=${setForm} />`)}</ol>
      <${Bring} studio=${studio} />`}
  <//>
  ${form && html`<${RowForm} studio=${studio} row=${form} onClose=${() => setForm(null)} />`}`;
}
