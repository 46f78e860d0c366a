// The store desk: verify a code, work the queue, print the pick list.
import { html, cls, render, useState, useNow } from "/static/shared/dom.js";
import { load, t, useLang, pick, said, time } from "/static/shared/i18n.js";
import { toast } from "/static/shared/toast.js";
import { Button, Empty, Spinner } from "/static/shared/parts.js";
import { whoAmI, doors, home } from "/static/login/session.js";
import { TopBar, Stuck } from "/static/login/frame.js";
import { useQueue, grouped, nameDevice, query } from "./desk.js";
import { Verify, reason } from "./verify.js";
import { PickList } from "./print.js";
import { LeaderGroups } from "./leader.js";

const STALE = 12_000; // ms without an answer after which the queue is called old: four missed askings
const SLOW = 30 * 60_000; // ms in the queue after which a ticket is marked: customers are told half an hour

function Ticket({ ticket, store, stores, put, many }) {
  const ready = async () => {
    try {
      put((await doors.post(query(`/v1/desk/tickets/${ticket.id}/ready`, store))).ticket);
      toast(t("store.now_ready", { name: ticket.person_name || t("store.somebody") }), "good");
    } catch (refusal) {
      toast(reason(refusal, stores), "bad");
      put(null);
    }
  };
  const waited = Math.max(0, Math.floor((Date.now() - ticket.created) / 60_000));
  return html`<li class="ticket card">
    <div class="ticket-head">
      <b class="ellipsis">${ticket.person_name || t("store.somebody")}</b>
      ${ticket.phone_tail && html`<span class="chip num">${ticket.phone_tail}</span>`}
      ${many && ticket.store && html`<span class="chip">${pick(stores.find((one) => one.code === ticket.store)?.name) || ticket.store}</span>`}
      <span class=${cls("ticket-age num small", ticket.state === "QUEUED" && Date.now() - ticket.created > SLOW && "is-slow")}>
        ${ticket.state === "COLLECTED" ? time(ticket.collected_at) : ticket.state === "READY" ? t("store.ready_at", { at: time(ticket.ready_at) }) : waited ? t("store.waits", { n: waited }) : t("store.just_now")}</span>
    </div>
    <ul class="ticket-lines">
      ${ticket.lines.map((line) => html`<li key=${line.sku}><span class="grow">${pick(line.name)}</span><b class="num">× ${line.qty}</b></li>`)}
    </ul>
    <div class="ticket-foot"><span class="muted tiny num">${t("store.order", { no: ticket.order })}</span>
      ${ticket.state === "QUEUED" && html`<${Button} kind="btn-soft" onPress=${ready}>${t("store.ready")}<//>`}
    </div>
  </li>`;
}

function Column({ state, tickets, ...rest }) {
  return html`<section class=${cls("column", `column-${state.toLowerCase()}`)} aria-labelledby=${`col-${state}`}>
    <h2 id=${`col-${state}`}>${t(`store.state.${state}`)} <span class="count num">${tickets.length}</span></h2>
    ${tickets.length ? html`<ul class="tickets">${tickets.map((ticket) => html`<${Ticket} key=${ticket.id} ticket=${ticket} ...${rest} />`)}</ul>`
      : html`<p class="column-none muted small">${t(`store.none.${state}`)}</p>`}
  </section>`;
}

function Freshness({ at, busy, error, again }) {
  const old = useNow(1000) - at > STALE;
  return html`<div class="fresh">
    <span class=${cls("small num", (old || error) && at > 0 ? "is-old" : "muted")} role=${old ? "alert" : undefined}>
      ${at ? t(old ? "store.stale" : "store.updated", { at: new Date(at).toLocaleTimeString("en-GB", { timeZone: "Asia/Shanghai" }) }) : ""}</span>
    <button type="button" class="btn btn-quiet" disabled=${busy} onClick=${again}>${t("store.refresh")}</button>
  </div>`;
}

function Desk({ me }) {
  useLang();
  const { you, stores } = me;
  const first = you.store || new URLSearchParams(location.search).get("store") || "";
  const [store, setStore] = useState(first);
  const [tab, setTab] = useState("QUEUED"); // phones show one column at a time
  const queue = useQueue(you.store ? "" : store);
  const named = stores.find((one) => one.code === store);
  const groups = grouped(queue.tickets || []);
  const choose = (code) => {
    setStore(code);
    history.replaceState(null, "", code ? `?store=${encodeURIComponent(code)}` : location.pathname);
  };
  const rest = { store: you.store ? "" : store, stores, put: queue.put, many: !store };
  document.title = `${named ? `${pick(named.name)} · ` : ""}${t("store.title")}`;
  return html`<div class="screen">
    <${TopBar} you=${you} at="store" title=${named ? pick(named.name) : t("store.all_stores")}>
      ${!you.store && html`<label class="store-choice"><span class="sr-only">${t("store.choose")}</span>
        <select class="input" value=${store} onChange=${(event) => choose(event.target.value)}>
          <option value="">${t("store.all_stores")}</option>
          ${stores.map((one) => html`<option key=${one.code} value=${one.code}>${pick(one.name)}</option>`)}
        </select></label>`}
    <//>
    <main class="desk">
      <div class="desk-side">
        <${Verify} store=${rest.store} stores=${stores} onDone=${queue.put} />
        ${you.role === "leader" && html`<${LeaderGroups} />`}
      </div>
      <div class="desk-queue">
        <div class="desk-head">
          <div class="tabs" role="group" aria-label=${t("store.queue")}>
            ${Object.keys(groups).map((state) => html`<button key=${state} type="button" class=${cls("tab", tab === state && "is-here")} aria-pressed=${tab === state}
              onClick=${() => setTab(state)}>${t(`store.state.${state}`)} <span class="count num">${groups[state].length}</span></button>`)}
          </div>
          <${Freshness} ...${queue} />
          <button type="button" class="btn desk-print" disabled=${!groups.QUEUED.length} onClick=${() => window.print()}>${t("store.print")}</button>
        </div>
        ${queue.error && !queue.tickets ? html`<${Stuck} text=${said(queue.error)} again=${queue.again} />`
          : !queue.tickets ? html`<${Spinner} />`
          : !queue.tickets.length ? html`<${Empty} title=${t("store.empty")} text=${t("store.empty_lead")} />`
          : html`<div class=${`columns show-${tab.toLowerCase()}`}>
              ${Object.entries(groups).map(([state, tickets]) => html`<${Column} key=${state} state=${state} tickets=${tickets} ...${rest} />`)}
            </div>`}
      </div>
    </main>
  </div>
  <${PickList} tickets=${groups.QUEUED} store=${named ? pick(named.name) : t("store.all_stores")} />`;
}

async function start() {
  await load({ staff: true });
  nameDevice();
  const app = document.getElementById("app");
  try {
    const me = await whoAmI();
    if (home(me.you.role) !== "/store" && me.you.role !== "owner") location.replace(home(me.you.role));
    else render(html`<${Desk} me=${me} />`, app);
  } catch (refusal) {
    if (refusal.code) render(html`<${Stuck} text=${said(refusal)} again=${() => location.reload()} />`, app);
    else throw refusal;
  }
}

start();
