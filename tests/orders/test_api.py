"""The doors of orders, over HTTP. One test pays at the simulator, from the buyer's tap to the provider's notice."""



from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from starlette.applications import Starlette

from live.infra.db import utc_now
from live.infra.keys import room_key
from live.infra.security import COOKIE, Tokens
from live.offers.rules import rid_of
from live.orders import api
from live.orders.actions import payment_arrived, refunds_done
from live.payments import api as payments
from live.payments import keys
from live.payments.notices import Notices
from live.payments.simulator import Simulator, bound, identity, server
from live.payments.simulator_post import Conditions
from live.payments.wechatpay import from_settings
from live.people.rules import MAY
from live.protocol.codes import Refusal
from live.settings import Settings
from live.web.app import refused
from tests.orders.stage import ROOM, Shop

SECRET = "a-secret-for-tests-only-0123456789abcdef"


async def desk(session: Any, nos: Sequence[str]) -> dict[str, dict[str, Any]]:
    """No order has a ticket yet."""
    return {}


class Doors:
    """The doors of orders, with what the composition root gives them."""

    def __init__(self, shop: Shop, redis: Redis, settings: Settings) -> None:
        self.shop = shop
        self.tokens = Tokens(SECRET)
        self.state: dict[str, Any] = {
            "db": shop.db, "redis": redis, "settings": settings, "tokens": self.tokens, "gateway": shop.provider, "may": MAY,
            "pickup_view": desk, "notices": Notices(shop.db, shop.provider, payment_arrived, refunds_done),
        }  # fmt: skip
        self._app = Starlette(routes=[*api.routes, *payments.routes], exception_handlers={Refusal: refused})
        transport = httpx2.ASGITransport(app=self)
        self.http = httpx2.AsyncClient(transport=transport, base_url=settings.web_url)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(self.state)
        await self._app(scope, receive, send)

    async def get(self, path: str, person: str = "p:1", status: int = 200) -> Any:
        """As a viewer."""
        return await self._ask("GET", path, person, None, status)

    async def post(self, path: str, body: Any, person: str = "p:1", status: int = 200) -> Any:
        """As a viewer."""
        return await self._ask("POST", path, person, body, status)

    async def staff(self, method: str, path: str, role: str = "host", status: int = 200) -> Any:
        """As somebody who works here."""
        row = {"a": role, "r": role, "s": "S1" if role == "clerk" else None}
        add = (
            "INSERT INTO staff (account, role, store, password_hash, one_time, disabled) VALUES (:a, :r, :s, '', false, false)"
            " ON CONFLICT (account) DO UPDATE SET name = ''"
        )
        async with self.shop.db.connection() as connection:
            found = (await connection.execute(text(add + " RETURNING id, token_version"), row)).one()
        cookie = self.tokens.issue(f"s:{found.id}", role, "", seconds=60, version=found.token_version, audience="session")
        headers = {"cookie": f"{COOKIE}={cookie}", "origin": self.state["settings"].web_url}
        answer = await self.http.request(method, path, json={} if method == "POST" else None, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def _ask(self, method: str, path: str, person: str, body: Any, status: int) -> Any:
        role = "viewer" if person.startswith("p:") else "guest"
        headers = {"authorization": f"Bearer {self.tokens.issue(person, role, '', seconds=60)}"}
        answer = await self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest_asyncio.fixture
async def doors(shop: Shop, redis: Redis, settings: Settings) -> AsyncIterator[Doors]:
    """Open doors."""
    made = Doors(shop, redis, settings)
    async with made.http:
        yield made


async def test_a_buyer_sees_their_own_orders_only(shop: Shop, doors: Doors) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    found = await doors.get(f"/v1/me/orders?room={ROOM}")
    assert [order["no"] for order in found["orders"]] == [no]
    assert await doors.get(f"/v1/me/orders/{no}") == found["orders"][0]
    assert await doors.get("/v1/me/orders?room=another") == {"orders": []}
    assert await doors.get("/v1/me/orders", person="p:2") == {"orders": []}
    answer = await doors.get(f"/v1/me/orders/{no}", person="p:2", status=404)
    assert answer == {"no": {"code": "not_found", "retry": False, "what": "order"}}


@pytest.mark.parametrize("path", ["orders", "coupons", "orders/1", f"intents/{ROOM}/12345678"])
async def test_guests_have_no_orders_and_strangers_no_door(doors: Doors, path: str) -> None:
    assert (await doors.get(f"/v1/me/{path}", person="g:abc", status=401))["no"]["code"] == "identify"
    answer = await doors.http.get(f"/v1/me/{path}")
    assert (answer.status_code, answer.json()["no"]["code"]) == (401, "unauthorised")


async def test_paying_answers_the_order_the_parameters_and_the_demos_cashier(shop: Shop, doors: Doors) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1", now=utc_now()), int(await shop.take(await shop.coupon(), "p:1"))
    answer = await doors.post(f"/v1/me/orders/{no}/pay", {"coupon": grant})
    assert (answer["order"]["payable"], answer["order"]["coupon"]) == (2490, grant)
    assert answer["pay"] == {"package": f"prepay_id=prepay-{no}-1"}
    assert answer["cashier"] == f"http://127.0.0.1:8002/cashier/prepay-{no}-1"
    assert await shop.one("SELECT payer FROM pay_attempt") == "openid-1"
    coupons = await doors.get(f"/v1/me/coupons?room={ROOM}")
    assert [(coupon["id"], coupon["state"], coupon["order"]) for coupon in coupons["coupons"]] == [(grant, "LOCKED", no)]


async def test_in_production_only_the_providers_own_users_pay_and_no_cashier_is_shown(shop: Shop, doors: Doors, settings: Settings) -> None:
    doors.state["settings"] = settings.model_copy(update={"env": "production"})
    no = await shop.take(await shop.sale(), "p:1", now=utc_now())
    async with shop.db.connection() as connection:
        await connection.execute(text("UPDATE person SET phone = '13800000000', openid = NULL WHERE id = 1"))
    before = await shop.everything()
    assert (await doors.post(f"/v1/me/orders/{no}/pay", {}, status=401))["no"] == {"code": "identify", "retry": False, "why": "wechat"}
    assert await shop.everything() == before
    async with shop.db.connection() as connection:
        await connection.execute(text("UPDATE person SET openid = 'o1' WHERE id = 1"))
    assert (await doors.post(f"/v1/me/orders/{no}/pay", {}))["cashier"] is None


@pytest.mark.parametrize("body", [{"coupon": "1"}, {"coupon": 0}, {"other": 1}, [], "x"])
async def test_a_body_that_is_no_payment_is_refused(shop: Shop, doors: Doors, body: Any) -> None:
    no = await shop.take(await shop.sale(), "p:1", now=utc_now())
    before = await shop.everything()
    assert (await doors.post(f"/v1/me/orders/{no}/pay", body, status=422))["no"]["code"] == "bad_request"
    assert await shop.everything() == before


async def test_cancel_and_refund_answer_the_order(shop: Shop, doors: Doors) -> None:
    sale = await shop.sale()
    unwanted, paid = await shop.take(sale, "p:1", now=utc_now()), await shop.take(sale, "p:1")
    await shop.paid(paid, "p:1")
    assert (await doors.post(f"/v1/me/orders/{unwanted}/cancel", {}))["state"] == "CANCELLED"
    assert (await doors.post(f"/v1/me/orders/{unwanted}/cancel", {}, status=409))["no"]["state"] == "CANCELLED"
    refunded = await doors.post(f"/v1/me/orders/{paid}/refund", {"reason": " 买错了 "})
    assert (refunded["state"], refunded["refund"]) == ("ALLOCATED", {"state": "REQUESTED", "fen": 2990, "reason": "买错了"})
    assert (await doors.post(f"/v1/me/orders/{paid}/refund", {}, status=409))["no"]["code"] == "refund_open"
    assert (await doors.post(f"/v1/me/orders/{paid}/refund", {"reason": "x" * 201}, status=422))["no"]["field"] == "reason"


async def test_a_tap_whose_answer_was_lost_is_found_in_the_books(shop: Shop, doors: Doors) -> None:
    sale, drop = await shop.sale(), await shop.coupon()
    no, grant = await shop.take(sale, "p:1"), int(await shop.take(drop, "p:1"))
    assert (await doors.get(f"/v1/me/intents/{ROOM}/key-0001"))["order"]["no"] == no
    assert (await doors.get(f"/v1/me/intents/{ROOM}/key-0002"))["coupon"]["id"] == grant
    assert await doors.get(f"/v1/me/intents/{ROOM}/key-0001", person="p:2") == {"again": True}
    assert (await doors.get(f"/v1/me/intents/{ROOM}/short", status=422))["no"]["field"] == "key"


async def test_a_tap_that_is_not_booked_is_pending_under_the_fence_and_again_under_an_older_one(doors: Doors, redis: Redis) -> None:
    path, rid = f"/v1/me/intents/{ROOM}/key-9999", rid_of("p:1", ROOM, "key-9999")
    assert await doors.get(path) == {"again": True}
    await redis.hset(room_key(ROOM, "rids:0"), rid, "I|1-0|7|abc")  # type: ignore[misc]
    await redis.hset(room_key(ROOM, "meta"), "fence", "7")  # type: ignore[misc]
    assert await doors.get(path) == {"pending": True}
    await redis.hset(room_key(ROOM, "meta"), "fence", "8")  # type: ignore[misc]
    assert await doors.get(path) == {"again": True}
    await redis.hset(room_key(ROOM, "rids:0"), rid, "I|1-0|6|abc")  # type: ignore[misc] # a Redis that was rolled back agrees with itself, not with SQL
    await redis.hset(room_key(ROOM, "meta"), "fence", "6")  # type: ignore[misc]
    assert await doors.get(path) == {"again": True}


async def test_the_host_decides_refunds_and_reads_the_figures_and_a_clerk_does_not(shop: Shop, doors: Doors) -> None:
    sale = await shop.sale()
    nos = [await shop.take(sale, "p:1"), await shop.take(sale, "p:2")]
    for no, person in zip(nos, ("p:1", "p:2"), strict=True):
        await shop.paid(no, person)
        await doors.post(f"/v1/me/orders/{no}/refund", {}, person=person)
    found = (await doors.staff("GET", f"/v1/rooms/{ROOM}/refunds"))["refunds"]
    assert [refund["order"] for refund in found] == [nos[1], nos[0]]
    before = await shop.everything()
    for method, path in (
        ("GET", f"/v1/rooms/{ROOM}/refunds"),
        ("POST", f"/v1/refunds/{found[0]['id']}/grant"),
        ("GET", f"/v1/rooms/{ROOM}/figures"),
    ):
        assert (await doors.staff(method, path, role="clerk", status=403))["no"]["code"] == "forbidden"
    assert await shop.everything() == before
    granted = await doors.staff("POST", f"/v1/refunds/{found[0]['id']}/grant")
    assert granted == {"id": found[0]["id"], "order": nos[1], "fen": 2990, "state": "APPROVED"}
    assert (await doors.staff("POST", f"/v1/refunds/{found[1]['id']}/decline"))["state"] == "DECLINED"
    assert (await doors.staff("POST", f"/v1/refunds/{found[1]['id']}/grant", status=409))["no"]["state"] == "DECLINED"
    assert (await doors.staff("POST", "/v1/refunds/999/grant", status=404))["no"]["code"] == "not_found"
    assert (await doors.staff("GET", f"/v1/rooms/{ROOM}/figures"))["paid_orders"] == 2


async def test_a_coupon_a_payment_at_the_simulator_and_its_notice_allocate_the_order(shop: Shop, doors: Doors, home: Path) -> None:
    async with AsyncExitStack() as stack:
        shop_url = await _served(stack, doors)
        simulator = Simulator(identity(home, "http://127.0.0.1:1", shop_url), Conditions(notice_waits=(0.0, 0.05, 0.2, 0.5)))
        url = await _served(stack, simulator.app)
        gateway = from_settings(_merchant(home, url, shop_url))
        stack.push_async_callback(gateway.aclose)
        doors.state |= {"gateway": gateway, "notices": Notices(shop.db, gateway, payment_arrived, refunds_done)}
        no, grant = await shop.take(await shop.sale(), "p:1", now=utc_now()), int(await shop.take(await shop.coupon(), "p:1"))
        answer = await doors.post(f"/v1/me/orders/{no}/pay", {"coupon": grant})
        prepay = answer["pay"]["package"].removeprefix("prepay_id=")
        async with httpx2.AsyncClient(trust_env=False) as payer:
            paid = await payer.post(f"{url}/cashier/{prepay}/pay", headers={"Accept": "application/json"}, json={})
            assert paid.json() == {"paid": True}
        async with asyncio.timeout(10):
            while (order := await doors.get(f"/v1/me/orders/{no}"))["state"] != "ALLOCATED":
                await asyncio.sleep(0.02)
    assert (order["payable"], order["discount"], order["coupon"]) == (2490, 500, grant)
    assert (await shop.grant(grant)).state == "USED"
    assert await shop.one("SELECT fen FROM pay_attempt WHERE winner") == 2490


def _merchant(home: Path, simulator_url: str, shop_url: str) -> Settings:
    given: dict[str, Any] = {name.removeprefix("LIVE_").lower(): value for name, value in keys.prepare(home, simulator_url).items()}
    given |= {"wechat_pay_url": simulator_url, "wechat_api_url": simulator_url}
    return Settings(home=home, env="demo", public_web_url=shop_url, **given)


async def _served(stack: AsyncExitStack, app: Any) -> str:
    """Serve until the stack is left; its URL."""
    listening = bound("127.0.0.1", 0)
    running = server(app)
    task = asyncio.create_task(running.serve(sockets=[listening]))

    async def stop() -> None:
        running.should_exit = True
        await task

    stack.push_async_callback(stop)
    while not running.started:
        await asyncio.sleep(0.005)
    return f"http://127.0.0.1:{listening.getsockname()[1]}"
