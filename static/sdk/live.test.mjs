// The room client against a server made by hand and a clock that only moves when told. Run: node --test static/sdk/
import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveRoom } from "./live.js";

class Clock {
  time = 1_000_000;
  last = 0;
  due = new Map();
  now = () => this.time;
  set = (act, ms) => {
    this.due.set((this.last += 1), { at: this.time + ms, act });
    return this.last;
  };
  clear = (id) => this.due.delete(id);

  async run(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const next = [...this.due].filter(([, one]) => one.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!next) break;
      this.due.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].act();
    }
    this.time = end;
    await settled();
  }
}

const settled = async () => {
  for (let i = 0; i < 8; i += 1) await Promise.resolve();
};

/** A room with its sockets laid open: `at` gives the newest one, `sent` what it was sent. */
function world({ random = () => 0.5, lookup, tokens = ["t1"] } = {}) {
  const clock = new Clock();
  const sockets = [];
  const log = [];
  const asked = [];
  const room = new LiveRoom({
    url: "ws://hub", room: "demo", clock, random, lookup,
    token: async (fresh) => {
      asked.push(fresh);
      return tokens[Math.min(asked.filter(Boolean).length, tokens.length - 1)];
    },
    socket: (url) => {
      const one = { url, sent: [], closed: false, send: (text) => one.sent.push(JSON.parse(text)), close: () => (one.closed = true) };
      sockets.push(one);
      return one;
    },
  });
  for (const name of ["status", "state", "event", "own", "ownGap", "reset", "chat"]) room.on(name, (...facts) => log.push([name, ...facts]));
  const self = {
    room, clock, sockets, log, asked,
    get at() {
      return sockets[sockets.length - 1];
    },
    push: (frame) => self.at.onmessage({ data: JSON.stringify(frame) }),
    last: (t) => self.at.sent.filter((one) => one.t === t).pop(),
    drop: (code = 1006) => self.at.onclose({ code }),
    of: (name) => log.filter(([one]) => one === name).map(([, ...facts]) => facts),
    open: async () => {
      await settled();
      self.at.onopen();
    },
    greet: (more = {}) =>
      self.push({ id: self.last("hello").id, ok: { now: clock.time, ping: 25000, you: { sub: "p:1", known: true }, room: "demo", e: "aa", s: 10, p: 5, rej: [0, 8000], rec: false, snap: { st: {}, chat: [], viewers: 1, likes: 0 }, own: [], ...more } }),
    join: async (more) => {
      room.connect();
      await self.open();
      self.greet(more);
      await settled();
    },
  };
  return self;
}

test("a first hello carries no position and a later one resumes from it", async () => {
  const w = world();
  await w.join();
  assert.deepEqual(w.last("hello").d, { v: 1, token: "t1", room: "demo" });
  assert.equal(w.room.status, "live");
  w.push({ r: "demo", s: 11, ev: [[11, "room.pinned", { offer: 4 }]] });
  w.push({ own: [[8, 5, { t: "order", no: "1" }]] });
  w.drop();
  assert.equal(w.room.status, "waiting");
  await w.clock.run(4000); // half of the server's window of 8 s
  await w.open();
  assert.deepEqual(w.last("hello").d, { v: 1, token: "t1", room: "demo", e: "aa", s: 11, p: 8 });
});

test("state is taken only with a higher version and null removes", async () => {
  const w = world();
  await w.join({ snap: { st: { "left:1": [4, { left: { a: 9 } }] } } });
  w.push({ r: "demo", s: 10, st: { "left:1": [3, { left: { a: 99 } }] } });
  assert.deepEqual(w.room.state.get("left:1"), { left: { a: 9 } });
  w.push({ r: "demo", s: 10, st: { "left:1": [5, { left: { a: 8 } }] } });
  assert.deepEqual(w.room.state.get("left:1"), { left: { a: 8 } });
  w.push({ r: "demo", s: 10, st: { "left:1": [6, null] } });
  w.push({ r: "demo", s: 10, st: { "left:1": [5, { left: { a: 8 } }] } });
  assert.equal(w.room.state.has("left:1"), false);
});

test("state is merged before the events of the same frame are told", async () => {
  const w = world();
  await w.join();
  let seen;
  w.room.on("event", () => (seen = w.room.state.get("offer:2")));
  w.push({ r: "demo", s: 11, ev: [[11, "offer.opened", { offer: 2, kind: "coupon" }]], st: { "offer:2": [1, { id: 2 }] } });
  assert.deepEqual(seen, { id: 2 });
});

test("a hole in the critical log makes the client resume at once, a repeated event is told once", async () => {
  const w = world();
  await w.join();
  w.push({ r: "demo", s: 11, ev: [[11, "a", {}]] });
  w.push({ r: "demo", s: 11, ev: [[11, "a", {}]] });
  assert.equal(w.of("event").length, 1);
  w.push({ r: "demo", s: 13, ev: [[13, "c", {}]] });
  assert.equal(w.sockets[0].closed, true);
  await w.clock.run(0);
  await w.open();
  assert.equal(w.last("hello").d.s, 11);
  w.greet({ rec: true, s: 13, ev: [[12, "b", {}], [13, "c", {}]] });
  assert.deepEqual(w.of("event").map(([type]) => type), ["a", "b", "c"]);
  w.push({ r: "demo", s: 20 }); // a second hole within seconds waits its turn
  await w.clock.run(0);
  assert.equal(w.sockets.length, 2);
});

test("a reset drops seq, state and versions", async () => {
  const w = world();
  await w.join({ snap: { st: { room: [90, { phase: "live" }], "offer:1": [7, { id: 1 }] } } });
  w.push({ reset: { e: "bb", s: 2, p: 1, snap: { st: { room: [1, { phase: "ended" }] }, chat: [], viewers: 0, likes: 0 } } });
  assert.deepEqual([...w.room.state], [["room", { phase: "ended" }]]);
  assert.equal(w.of("reset").length, 2); // the first join is one too
  w.push({ r: "demo", s: 3, ev: [[3, "x", {}]] });
  assert.deepEqual(w.of("event"), [["x", {}, 3]]);
  assert.equal(w.of("ownGap").length, 1); // own positions begin anew too: what was missed comes over HTTP
  w.push({ own: [[2, 1, { t: "order" }]] });
  assert.equal(w.of("own").length, 1);
});

test("everybody's frames move our place among own events: a resume asks from there and misses nothing", async () => {
  const w = world();
  await w.join();
  w.push({ r: "demo", s: 10, p: 9, st: {} }); // others' orders
  w.push({ r: "demo", s: 10, p: 7, st: {} }); // a tick that was overtaken
  w.push({ own: [[12, 5, { t: "order", no: "1" }]] }); // nothing of ours lies between 5 and 12
  assert.deepEqual([w.of("ownGap").length, w.of("own").length], [0, 1]);
  w.push({ own: [[12, 5, { t: "order", no: "1" }]] });
  assert.equal(w.of("own").length, 1);
  w.push({ r: "demo", s: 10, p: 30, st: {} });
  w.drop();
  await w.clock.run(4000);
  await w.open();
  assert.deepEqual(w.last("hello").d, { v: 1, token: "t1", room: "demo", e: "aa", s: 10, p: 30 });
  w.greet({ rec: true, p: 41, own: [[40, 12, { t: "order", no: "2" }]], ev: [] });
  assert.deepEqual([w.of("ownGap").length, w.of("own").length], [0, 2]);
  w.push({ own: [[44, 43, { t: "order", no: "3" }]] }); // 43 is ours and did not come
  assert.equal(w.of("ownGap").length, 1);
});

test("a frame with a hole in its events does not move our place among own events", async () => {
  const w = world();
  await w.join();
  w.push({ r: "demo", s: 13, p: 9, ev: [[13, "c", {}]] });
  await w.clock.run(0);
  await w.open();
  assert.deepEqual([w.last("hello").d.s, w.last("hello").d.p], [10, 5]);
});

test("the whole state after we were too slow takes away what is gone, and older versions stay refused", async () => {
  const w = world();
  await w.join({ snap: { st: { "offer:1": [4, { id: 1 }], "left:1": [9, { left: {} }], room: [2, {}] }, chat: [], viewers: 0, likes: 0 } });
  w.push({ r: "demo", s: 10, p: 5, stale: true, st: { room: [12, { phase: "live" }], "left:1": [9, { left: {} }] } });
  assert.deepEqual([...w.room.state.keys()].sort(), ["left:1", "room"]);
  assert.deepEqual(w.of("state").filter(([key]) => key === "offer:1").pop(), ["offer:1", null]);
  w.push({ r: "demo", s: 10, p: 5, st: { "left:1": [8, { left: { a: 1 } }] } });
  assert.deepEqual(w.room.state.get("left:1"), { left: {} });
});

test("own events with a hole before them ask for the orders, with jitter", async () => {
  const w = world();
  await w.join();
  w.push({ own: [[6, 5, { t: "order" }]] });
  assert.equal(w.of("ownGap").length, 0);
  w.push({ own: [[9, 8, { t: "order" }], [9, 8, { t: "order" }]] });
  assert.deepEqual(w.of("ownGap"), [[1500]]);
  assert.equal(w.of("own").length, 2);
});

test("a hello without own events asks for the orders and goes on from its position", async () => {
  const w = world();
  await w.join({ own: null, p: 12 });
  assert.equal(w.of("ownGap").length, 1);
  w.push({ own: [[13, 12, { t: "order" }]] });
  assert.equal(w.of("ownGap").length, 1);
});

test("a hello from another log forgets the own position of the old one", async () => {
  const w = world();
  await w.join({ p: 900 });
  w.drop();
  await w.clock.run(4000);
  await w.open();
  w.greet({ e: "bb", s: 1, p: 2, own: null });
  w.push({ own: [[3, 2, { t: "order", no: "5" }]] });
  assert.deepEqual(w.of("own"), [[{ t: "order", no: "5" }]]);
});

test("buy: pending, then the same id is answered with the order", async () => {
  const w = world();
  await w.join();
  const tap = w.room.buy({ lines: [{ offer: 1, qty: 1, version: 2 }], at: ["a"] });
  const { id, d } = w.last("buy");
  assert.equal(d.try, 1);
  assert.match(d.key, /^[0-9a-f]{32}$/);
  w.push({ id, ok: { pending: true, rid: "r", fence: 1 } });
  assert.equal(tap.state, "moment");
  w.push({ id, ok: { order: { no: "77" } } });
  assert.deepEqual(await tap.promise, { order: { no: "77" } });
  assert.equal(w.room.taps.size, 0);
});

test("fenced, busy and again are sent again by themselves: fresh id, same key, next try", async () => {
  const w = world();
  await w.join();
  const tap = w.room.claim(3);
  const ids = new Set();
  for (const [n, code] of ["fenced", "busy", "again"].entries()) {
    const sent = w.last("claim");
    assert.deepEqual(sent.d, { offer: 3, key: tap.key, try: n + 1 });
    ids.add(sent.id);
    w.push({ id: sent.id, no: { code, retry: true } });
    await w.clock.run(2000);
  }
  assert.equal(ids.size, 3);
  w.push({ id: w.last("claim").id, ok: { coupon: { id: 5, offer: 3 } } });
  assert.deepEqual(await tap.promise, { coupon: { id: 5, offer: 3 } });
});

test("a lost socket in the middle of a tap: sent again after the resume, and never refused by ourselves", async () => {
  const w = world();
  await w.join();
  const tap = w.room.buy({ lines: [], at: ["a"] });
  w.drop();
  assert.equal(tap.state, "moment");
  await w.clock.run(4000);
  await w.open();
  w.greet();
  const sent = w.last("buy");
  assert.deepEqual([sent.d.key, sent.d.try], [tap.key, 2]);
  const began = w.clock.time;
  while (w.clock.time - began < 120_000) {
    w.push({ id: w.last("buy").id, no: { code: "busy", retry: true } });
    await w.clock.run(4000);
    const ping = w.last("ping");
    if (ping) w.push({ id: ping.id, ok: { now: w.clock.time } });
  }
  assert.deepEqual([w.room.status, tap.over], ["live", false]);
});

test("plain busy is given up after a while, since nothing can be booked", async () => {
  const w = world();
  await w.join();
  const tap = w.room.claim(3);
  for (let i = 0; i < 60 && !tap.over; i += 1) {
    w.push({ id: w.last("claim").id, no: { code: "busy", retry: true } });
    await w.clock.run(1000);
    const ping = w.last("ping");
    if (ping) w.push({ id: ping.id, ok: { now: w.clock.time } });
  }
  await assert.rejects(tap.promise, { code: "busy" });
});

test("a refusal of an older try does not end the tap, good news of an older try does", async () => {
  const w = world();
  await w.join();
  const tap = w.room.buy({ lines: [], at: ["a"] });
  const first = w.last("buy").id;
  await w.clock.run(5000); // silence
  const second = w.last("buy").id;
  assert.notEqual(first, second);
  w.push({ id: first, no: { code: "sold_out" } });
  assert.equal(tap.over, false);
  w.push({ id: first, ok: { order: { no: "9" } } });
  assert.deepEqual(await tap.promise, { order: { no: "9" } });
});

test("a pending tap is asked for over HTTP and `again` sends it anew", async () => {
  const answers = [{ pending: true }, { again: true }];
  const w = world({ lookup: async () => answers.shift() });
  await w.join();
  const tap = w.room.claim(3);
  w.push({ id: w.last("claim").id, ok: { pending: true } });
  await w.clock.run(2500);
  await w.clock.run(2500 * 1.5);
  await w.clock.run(300);
  assert.equal(answers.length, 0);
  assert.equal(w.last("claim").d.try, 2);
  w.push({ id: w.last("claim").id, no: { code: "sold_out" } });
  await assert.rejects(tap.promise, { code: "sold_out" });
});

test("bye tells when to come back; from 4500 on it means do not", async () => {
  const w = world({ random: () => 0 });
  await w.join();
  w.push({ bye: { code: 4001, after: 4200, why: "drain" } });
  w.drop(4001);
  w.room.nudge(); // even now: the server asked us to stay away
  await w.clock.run(4199);
  assert.equal(w.sockets.length, 1);
  await w.clock.run(1);
  assert.equal(w.sockets.length, 2);
  await w.open();
  w.greet();
  w.push({ bye: { code: 4502, why: "revoked" } });
  w.drop(4502);
  await w.clock.run(600_000);
  assert.deepEqual([w.room.status, w.room.facts.code, w.sockets.length], ["stopped", 4502, 2]);
});

test("an expired token is exchanged before coming back, a refused one twice at most", async () => {
  const w = world({ random: () => 0, tokens: ["t1", "t2", "t3", "t4"] });
  await w.join();
  w.push({ bye: { code: 4004, after: 0 } });
  w.drop(4004);
  await w.clock.run(0);
  await w.open();
  assert.equal(w.last("hello").d.token, "t2");
  for (let i = 0; i < 3; i += 1) {
    w.push({ id: w.last("hello").id, no: { code: "unauthorised" } });
    await w.clock.run(0);
    if (w.room.status === "stopped") break;
    await w.open();
  }
  assert.deepEqual([w.room.status, w.sockets.length], ["stopped", 4]);
});

test("a new token goes over the wire in place", async () => {
  const tokens = ["t1", "t2"];
  const w = world();
  w.room.token = async () => tokens[0];
  await w.join();
  tokens.shift();
  await w.clock.run(25_000);
  assert.deepEqual(w.last("refresh").d, { token: "t2" });
  assert.equal(w.last("ping").d.at, w.clock.time);
});

test("a ping without an answer means the socket is dead", async () => {
  const w = world();
  await w.join();
  await w.clock.run(25_000 + 10_000);
  assert.equal(w.sockets[0].closed, true);
  assert.equal(w.room.status, "waiting");
});

test("backoff doubles with full jitter and ends at 20 s", async () => {
  const w = world({ random: () => 1 });
  w.room.connect();
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    await settled();
    w.drop();
    waits.push(w.room.facts.at - w.clock.time);
    await w.clock.run(waits[i]);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
});

test("hidden for more than 10 s leaves, showing comes back; a shorter look away keeps the socket", async () => {
  const w = world();
  await w.join();
  w.room.hide();
  await w.clock.run(9000);
  w.room.show();
  await w.clock.run(9000);
  assert.equal(w.room.status, "live");
  w.room.hide();
  await w.clock.run(10_000);
  assert.deepEqual([w.room.status, w.sockets[0].closed], ["hidden", true]);
  w.room.show();
  assert.equal(w.room.status, "connecting");
});

test("a tap in flight keeps a hidden page connected until its verdict", async () => {
  const w = world();
  await w.join();
  const tap = w.room.claim(3);
  w.room.hide();
  await w.clock.run(10_000);
  assert.equal(w.room.status, "live");
  w.push({ id: w.last("claim").id, ok: { coupon: { id: 1, offer: 3 } } });
  await tap.promise;
  await w.clock.run(10_000);
  assert.equal(w.room.status, "hidden");
});

test("another person leaves the old one's tap behind and joins without a position of their own events", async () => {
  const w = world();
  await w.join();
  const tap = w.room.claim(3);
  w.room.rejoin();
  await assert.rejects(tap.promise, { code: "offline" });
  await w.open();
  assert.equal("p" in w.last("hello").d, false);
  w.greet();
  assert.equal(w.last("claim"), undefined);
});

test("comments: resolved by their reply, refused by name, offline without a socket", async () => {
  const w = world();
  await assert.rejects(w.room.say("x"), { code: "offline" });
  await w.join();
  const good = w.room.say("hello");
  w.push({ id: w.last("say").id, ok: { cid: "c", id: "i" } });
  assert.deepEqual(await good, { cid: "c", id: "i" });
  const bad = w.room.say("again");
  w.push({ id: w.last("say").id, no: { code: "slow_down", wait: 3000 } });
  await assert.rejects(bad, (no) => no.code === "slow_down" && no.facts.wait === 3000);
  const lost = w.room.say("third");
  w.drop();
  await assert.rejects(lost, { code: "offline" });
});
