"""Parts of the pages alone in a Chromium: the modules as they are served, a stand-in for what lies behind them."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import Browser, Page, Route

STATIC = Path(__file__).resolve().parents[2] / "static"
SITE = "http://shop.test"
IMPORTS = '{"imports": {"preact": "/static/vendor/preact/preact.mjs", "preact/hooks": "/static/vendor/preact/hooks.mjs", "htm": "/static/vendor/htm/htm.mjs"}}'  # fmt: skip  # noqa: E501
SHELL = f'<!doctype html><html lang="en"><head><script type="importmap">{IMPORTS}</script></head><body><div id="app"></div></body></html>'


async def serve(route: Route) -> None:
    """Files of static/, and an empty page at every other address."""
    path = urlsplit(route.request.url).path
    if not path.startswith("/static/"):
        await route.fulfill(body=SHELL, content_type="text/html")
        return
    kind = "text/javascript" if path.endswith((".js", ".mjs")) else mimetypes.guess_type(path)[0] or "text/plain"
    await route.fulfill(body=(STATIC / path.removeprefix("/static/")).read_bytes(), content_type=kind)


@pytest_asyncio.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """An empty page of the shop, with the texts loaded."""
    context = await chromium.new_context(locale="en-GB")
    await context.route("**/*", serve)
    found = await context.new_page()
    await found.goto(SITE + "/")
    yield found
    await context.close()


# A busy room draws every few ms; the server asks for quiet once, 430 ms long.
COMPOSER = """async () => {
  const { html, render } = await import("/static/shared/dom.js");
  const { load } = await import("/static/shared/i18n.js");
  const { Composer } = await import("/static/room/talk.js");
  await load({ lang: "en" });
  const app = document.getElementById("app");
  window.said = [];
  let asked = 0;
  const say = (text) => {
    asked += 1;
    if (asked === 1) return Promise.reject({ code: "slow_down", facts: { wait: 430 } });
    window.said.push(text);
    return Promise.resolve({});
  };
  const shop = { room: { phase: "live" }, offers: () => [], orders: new Map(), live: { say }, open() {}, note() {}, like() {} };
  const draw = () => {
    render(html`<${Composer} shop=${shop} />`, app);
    window.waited ||= document.querySelector(".say-wait") !== null;
  };
  draw();
  setInterval(draw, 4);
}"""


async def test_who_was_asked_to_wait_can_say_it_afterwards_however_busy_the_room_is(page: Page) -> None:
    await page.evaluate(COMPOSER)
    field = page.locator(".say-input")
    await field.fill("hello")
    await field.press("Enter")
    await page.wait_for_function("window.waited")
    await page.locator(".say-send").wait_for(timeout=10_000)
    await field.press("Enter")
    await page.wait_for_function("window.said.length === 1")


SIGN_OUT = """async () => {
  const { html, render } = await import("/static/shared/dom.js");
  const { load } = await import("/static/shared/i18n.js");
  const { Account } = await import("/static/login/frame.js");
  await load({ lang: "en", staff: true });
  render(html`<${Account} you=${{ role: "clerk", name: "A", account: "a" }} at="store" />`, document.getElementById("app"));
}"""


async def test_a_sign_out_that_did_not_reach_the_shop_does_not_look_like_one(page: Page) -> None:
    """The cookie still holds: whoever comes to this desk next would be the clerk who believed to have left."""
    answers = [None, '{"no": {"code": "expired", "retry": false}}']

    async def answer(route: Route) -> None:
        body = answers.pop(0)
        await (route.abort() if body is None else route.fulfill(status=401, body=body))

    await page.context.route("**/v1/staff/logout", answer)
    await page.goto(SITE + "/store")
    await page.evaluate(SIGN_OUT)
    await page.locator(".account-btn").click()
    await page.locator("button.menu-item").click()
    await page.locator(".toast-bad").wait_for()
    assert page.url == SITE + "/store"
    await page.locator("button.menu-item").click()  # a session that is over anyway is left
    await page.wait_for_url(SITE + "/login")


# A person's token is about to end and being refreshed when they sign out.
LEAVE = """async () => {
  const person = (token) => ({ token, expires: Date.now() + 5000, you: { sub: "p:1", name: "A", known: true } });
  const guest = { token: "g", expires: Date.now() + 600000, you: { sub: "g:1", name: "G", known: false } };
  localStorage.setItem("live.viewer", JSON.stringify(person("old")));
  const late = {};
  window.fetch = (path) => new Promise((done) => {
    const answer = (body) => done(new Response(JSON.stringify(body)));
    if (path === "/v1/token/refresh") late.refresh = () => answer(person("new"));
    else answer(guest);
  });
  const { viewer } = await import("/static/shared/api.js");
  const before = viewer.token();
  viewer.leave();
  const after = viewer.token();
  late.refresh();
  return [await before, await after, viewer.known, JSON.parse(localStorage.getItem("live.viewer")).you.sub];
}"""


async def test_who_signed_out_stays_so_when_the_refresh_that_was_under_way_comes_back(page: Page) -> None:
    assert await page.evaluate(LEAVE) == ["g", "g", False, "g:1"]


# A buyer's page hears that it missed news of its own, and the first time it asks for them nobody answers.
MISSED = """async () => {
  const you = { sub: "p:1", name: "A", known: true };
  localStorage.setItem("live.viewer", JSON.stringify({ token: "t", expires: Date.now() + 600000, you }));
  window.WebSocket = class { close() {} };
  const asked = {};
  window.fetch = async (path) => {
    asked[path] = (asked[path] || 0) + 1;
    if (path.startsWith("/v1/me/orders") && asked[path] === 1) throw new TypeError("no network");
    const orders = [{ no: "1", version: 2, state: "PAID", lines: [] }];
    return new Response(JSON.stringify({ orders, coupons: [], waitlist: [], packets: [], points: 0 }));
  };
  const { Shop } = await import("/static/room/shop.js");
  window.shop = new Shop({ id: "r1", hub_url: "ws://shop.test/ws", stores: [] }, false);
  window.shop.start();
  window.shop.live.tell("ownGap", 0);
}"""


async def test_news_that_were_missed_are_asked_for_until_somebody_answers(page: Page) -> None:
    await page.evaluate(MISSED)
    await page.wait_for_function("window.shop.fetched && window.shop.orders.get('1').state === 'PAID'", timeout=15_000)
