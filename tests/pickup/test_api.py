from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from live.infra.db import Database
from live.infra.security import COOKIE, Tokens
from live.people.tables import Staff
from live.pickup.api import routes
from live.pickup.rules import shown
from live.protocol.codes import Refusal
from live.settings import Settings
from tests.pickup.shop import SECRET, Shop, open_shop

TOKENS = Tokens("a secret of the tests, long enough to sign")


async def refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"no": error.body()}, error.status)


@dataclass
class Door:
    """The desk's doors without a network, for one member of the staff."""

    client: httpx2.AsyncClient
    sub: int
    role: str
    store: str | None

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        token = TOKENS.issue(f"s:{self.sub}", self.role, "", seconds=60, store=self.store, audience="session")
        given = {"origin": "http://127.0.0.1:8000", "cookie": f"{COOKIE}={token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        answer = await self.client.request(method, path, json=body, headers=given)
        return answer.status_code, answer.json()


@dataclass
class Counter:
    """A shop with its doors."""

    shop: Shop
    client: httpx2.AsyncClient

    def clerk(self, store: str) -> Door:
        return Door(self.client, self.shop.clerks[store], "clerk", store)

    async def hire(self, role: str) -> Door:
        async with self.shop.db.begin() as session:
            row = Staff(account=role, role=role, password_hash="-")
            session.add(row)
        return Door(self.client, int(row.id or 0), role, None)


@pytest_asyncio.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    shop = await open_shop(database)
    may = {"desk": frozenset({"owner", "clerk"})}
    app = Starlette(routes=routes, exception_handlers={Refusal: refusal})
    state = {"db": database, "settings": Settings(pickup_secret=SECRET), "tokens": TOKENS, "may": may}

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=with_state), base_url="http://desk") as client:
        yield Counter(shop, client)


async def test_a_clerk_works_the_queue_of_the_own_store(counter: Counter) -> None:
    number, no, code = await counter.shop.ticket(state="QUEUED")
    await counter.shop.ticket("S2")
    clerk = counter.clerk("S1")
    status, answer = await clerk("GET", "/v1/desk/queue")
    assert (status, answer["store"], [(row["order"], row["state"]) for row in answer["tickets"]]) == (200, "S1", [(no, "QUEUED")])
    status, answer = await clerk("POST", f"/v1/desk/tickets/{number}/ready", {})
    assert (status, answer["ticket"]["state"]) == (200, "READY")
    status, answer = await clerk("POST", "/v1/desk/verify", {"code": shown(code)})
    assert (status, answer["ticket"]["id"], answer["ticket"]["state"]) == (200, number, "READY")
    status, answer = await clerk("POST", f"/v1/desk/tickets/{number}/collect", {"code": f"PK:{code}"})
    assert (status, answer["ticket"]["state"]) == (200, "COLLECTED")
    assert answer["ticket"]["collected_at"] is not None
    assert await clerk("POST", f"/v1/desk/tickets/{number}/collect", {"code": code}) == (
        409,
        {"no": {"code": "state", "retry": False, "state": "COLLECTED"}},
    )


async def test_a_clerk_of_another_store_is_sent_away(counter: Counter) -> None:
    number, _, code = await counter.shop.ticket("S1")
    clerk = counter.clerk("S2")
    wrong_store = (403, {"no": {"code": "wrong_store", "retry": False, "store": "S1"}})
    assert await clerk("POST", "/v1/desk/verify", {"code": code}) == wrong_store
    assert await clerk("POST", f"/v1/desk/tickets/{number}/collect", {"code": code}) == wrong_store
    assert (await clerk("GET", "/v1/desk/queue?store=S1"))[0] == 403
    assert (await clerk("GET", "/v1/desk/queue?store=S2"))[1] == {"tickets": [], "store": "S2"}


async def test_the_owner_may_choose_a_store_and_a_host_may_not_come_in(counter: Counter) -> None:
    here, _, _ = await counter.shop.ticket("S1")
    there, _, _ = await counter.shop.ticket("S2")
    owner, host = await counter.hire("owner"), await counter.hire("host")
    for path, tickets in (("", [here, there]), ("?store=S2", [there]), ("?store=", [here, there])):
        status, answer = await owner("GET", f"/v1/desk/queue{path}")
        assert (status, [row["id"] for row in answer["tickets"]]) == (200, tickets)
    assert await host("GET", "/v1/desk/queue") == (403, {"no": {"code": "forbidden", "retry": False, "role": "host"}})


async def test_a_device_is_locked_out_by_its_header_and_another_is_not(counter: Counter) -> None:
    _, _, code = await counter.shop.ticket()
    clerk = counter.clerk("S1")
    for _ in range(5):
        assert await clerk("POST", "/v1/desk/verify", {"code": "AAAA-AAAA-A"}, x_device="left") == (
            422,
            {"no": {"code": "wrong_code", "retry": False}},
        )
    status, answer = await clerk("POST", "/v1/desk/verify", {"code": code}, x_device="left")
    assert (status, answer["no"]["code"]) == (429, "locked_out")
    assert 895 <= answer["no"]["wait"] <= 900
    assert (await clerk("POST", "/v1/desk/verify", {"code": code}, x_device="right"))[0] == 200


async def test_bodies_that_are_not_meant_are_refused(counter: Counter) -> None:
    number, _, code = await counter.shop.ticket(state="QUEUED")
    clerk = counter.clerk("S1")
    for path, body in (
        ("verify", {}),
        ("verify", {"code": ""}),
        ("verify", {"code": 7}),
        ("verify", {"code": "A" * 65}),
        ("verify", {"code": code, "more": 1}),
        (f"tickets/{number}/ready", {"state": "COLLECTED"}),
    ):
        status, answer = await clerk("POST", f"/v1/desk/{path}", body)
        assert (status, answer["no"]["code"]) == (422, "bad_request")
    assert (await clerk("POST", f"/v1/desk/tickets/{2**70}/ready", {}))[0] == 404
    assert (await clerk("POST", "/v1/desk/verify", {"code": code}, origin="http://elsewhere"))[1]["no"]["code"] == "origin"
    [ticket] = await counter.shop.tickets()
    assert ticket.state == "QUEUED"
