"""Every door of the application: who may pass, and that nobody else changes anything."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from live.infra.security import COOKIE
from live.settings import Settings
from live.web.app import make_app
from tests.offers.shop import coupon, group, make_shop, sale
from tests.web.doors import FORMS, Doors, holdings

ROLES = ("owner", "host", "moderator", "clerk", "leader")
SHOP, SHOW, TALK, DESK, ALL = "owner", "owner host", "owner host moderator", "owner clerk leader", " ".join(ROLES)

# Every door that a staff cookie opens, and whom it opens for. A new door fails the first test until it stands here.
STAFF: dict[tuple[str, str], str] = {
    ("POST", "/v1/staff/password"): ALL,
    ("POST", "/v1/staff/logout"): ALL,
    ("GET", "/v1/staff/me"): ALL,
    ("POST", "/v1/staff/socket"): TALK,
    ("POST", "/v1/staff/edit"): SHOP,
    ("POST", "/v1/staff/reset"): SHOP,
    ("POST", "/v1/staff"): SHOP,
    ("GET", "/v1/staff"): SHOP,
    ("GET", "/v1/stores"): SHOW,
    ("POST", "/v1/stores"): SHOP,
    ("POST", "/v1/import"): SHOP,
    ("GET", "/v1/catalog"): SHOW,
    ("GET", "/v1/rooms"): TALK,
    ("POST", "/v1/rooms"): SHOW,
    ("POST", "/v1/rooms/{room}"): SHOW,
    ("POST", "/v1/rooms/{room}/start"): SHOW,
    ("POST", "/v1/rooms/{room}/stop"): SHOW,
    ("POST", "/v1/rooms/{room}/pin"): SHOW,
    ("POST", "/v1/rooms/{room}/sales"): SHOW,
    ("POST", "/v1/rooms/{room}/coupons"): SHOW,
    ("POST", "/v1/rooms/{room}/groups"): SHOW,
    ("POST", "/v1/rooms/{room}/teams"): SHOW,
    ("POST", "/v1/rooms/{room}/packets"): SHOW,
    ("POST", "/v1/rooms/{room}/draws"): SHOW,
    ("POST", "/v1/draws/{id}/close"): SHOW,
    ("GET", "/v1/rooms/{room}/offers"): SHOW,
    ("GET", "/v1/rooms/{room}/run-sheet"): SHOW,
    ("GET", "/v1/rooms/{room}/run-sheet/export"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/import"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/copy"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}/move"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}/delete"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}/duplicate"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}/start"): SHOW,
    ("POST", "/v1/rooms/{room}/run-sheet/rows/{row}/skip"): SHOW,
    ("POST", "/v1/rooms/{room}/mute"): TALK,
    ("POST", "/v1/rooms/{room}/comments/{id}/withdraw"): TALK,
    ("POST", "/v1/offers/{id}/end"): SHOW,
    ("POST", "/v1/offers/{id}/price"): SHOW,
    ("POST", "/v1/offers/{id}/time"): SHOW,
    ("POST", "/v1/offers/{id}/void"): SHOW,
    ("POST", "/v1/offers/{id}/stock"): SHOW,
    ("GET", "/v1/rooms/{room}/figures"): SHOW,
    ("GET", "/v1/rooms/{room}/refunds"): SHOW,
    ("POST", "/v1/refunds/{id}/grant"): SHOW,
    ("POST", "/v1/refunds/{id}/decline"): SHOW,
    ("GET", "/v1/desk/queue"): DESK,
    ("POST", "/v1/desk/verify"): DESK,
    ("POST", "/v1/desk/tickets/{ticket_id}/ready"): DESK,
    ("POST", "/v1/desk/tickets/{ticket_id}/collect"): DESK,
    ("POST", "/v1/rooms/{room}/share/staff"): ALL,
    ("GET", "/v1/rooms/{room}/sharers"): SHOW,
    ("GET", "/v1/leaders"): SHOW,
    ("POST", "/v1/rooms/{room}/leader-groups"): SHOW,
    ("GET", "/v1/leader/groups"): "owner leader",
    ("GET", "/v1/payments/exceptions"): SHOP,
    ("POST", "/v1/payments/exceptions/{id}/refund"): SHOP,
    ("POST", "/v1/payments/exceptions/{id}/accept"): SHOP,
    ("POST", "/v1/payments/exceptions/{id}/note"): SHOP,
    ("POST", "/v1/payments/refunds/{id}/again"): SHOP,
    ("GET", "/v1/audit"): SHOP,
    ("GET", "/v1/audit/watch"): SHOP,
}
VIEWERS = {  # doors of a person's bearer token
    ("GET", "/v1/me/orders"), ("GET", "/v1/me/orders/{no}"), ("POST", "/v1/me/orders/{no}/pay"), ("POST", "/v1/me/orders/{no}/cancel"),
    ("POST", "/v1/me/orders/{no}/refund"), ("GET", "/v1/me/coupons"), ("GET", "/v1/me/intents/{room}/{key}"),
    ("GET", "/v1/me/points"), ("GET", "/v1/me/packets"), ("GET", "/v1/me/draws/{id}"), ("POST", "/v1/draws/{id}/enter"),
    ("GET", "/v1/rooms/{room}/follow"), ("POST", "/v1/rooms/{room}/follow"), ("POST", "/v1/rooms/{room}/unfollow"),
    ("GET", "/v1/me/follows"),
    ("GET", "/v1/me/waitlist"), ("POST", "/v1/offers/{id}/waitlist"), ("POST", "/v1/offers/{id}/waitlist/leave"),
    ("GET", "/v1/me/orders/{no}/coupons"),
    ("GET", "/v1/me/shares"), ("POST", "/v1/rooms/{room}/share"), ("POST", "/v1/shares/{token}/open"),
}  # fmt: skip
OPEN = {  # anybody's: logins, what a room shows, pages, what operators ask, WeChat's signed notices
    ("POST", "/v1/guest"), ("POST", "/v1/login/wechat"), ("POST", "/v1/login/phone/code"), ("POST", "/v1/login/phone"),
    ("POST", "/v1/token/refresh"), ("POST", "/v1/staff/login"), ("GET", "/v1/rooms/{room}"), ("POST", "/v1/wechat/pay/notice"),
    ("GET", "/v1/offers/{id}/packet"), ("GET", "/v1/draws/{id}/proof"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/"), ("GET", "/room/{room}"), ("GET", "/console"),
    ("GET", "/console/{room}"), ("GET", "/store"), ("GET", "/hq"), ("GET", "/login"), ("GET", "/favicon.ico"), ("GET", "/media/{path}"),
    ("GET", "/v1/shares/{token}"), ("GET", "/v1/offers/{id}/teams"), ("GET", "/v1/offers/{id}/teams/open"), ("GET", "/v1/teams/{id}"),
}  # fmt: skip
PLACES = {"{room}": "r1", "{id}": "1", "{row}": "1", "{ticket_id}": "1", "{no}": "A1", "{key}": "12345678", "{token}": "t", "{path}": "x"}
UNSAFE = [door for door in STAFF if door[0] == "POST"]


def address(path: str) -> str:
    """The path with something in its places."""
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return path.replace("/comments/1/", "/comments/c1-1/")


async def shop(doors: Doors) -> None:
    """A live room with an offer of each kind."""
    await make_shop(doors.db)
    await sale(doors.db, {"S1": 5})
    await coupon(doors.db, 5)
    await group(doors.db, 4)


def test_no_door_is_left_out_of_the_list(settings: Settings) -> None:
    found = set()
    for route in make_app(settings).routes:
        if isinstance(route, Route):
            path = route.path.replace(":int}", "}").replace(":path}", "}")
            found |= {(method, path) for method in route.methods or () if method != "HEAD"}
    assert found == set(STAFF) | VIEWERS | OPEN


async def test_without_a_cookie_no_staff_door_opens(doors: Doors) -> None:
    await shop(doors)
    before = await holdings(doors.db)
    for method, path in STAFF:
        answer = await doors.ask(method, address(path), {})
        assert answer == (401, {"no": {"code": "unauthorised", "retry": False}}), (method, path)
    assert await holdings(doors.db) == before


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_passes_its_own_doors_and_no_other(doors: Doors, role: str) -> None:
    await shop(doors)
    cookie = await doors.hire(role, store="S1")
    before = await holdings(doors.db)
    for (method, path), may in STAFF.items():
        status, answer = await doors.ask(method, address(path), {"surprise": 1}, cookie)
        if role not in may.split():
            assert (status, answer) == (403, {"no": {"code": "forbidden", "retry": False, "role": role}}), (method, path)
        elif method == "GET":
            assert status == 200, (method, path, answer)
        else:  # let in, and what it was asked refused: the field is not one of the form's, or others are missing
            assert (status, answer["no"]["code"]) == (422, "bad_request"), (method, path, answer)
    assert await holdings(doors.db) == before


async def test_a_foreign_page_opens_no_unsafe_door_with_the_owners_cookie(doors: Doors) -> None:
    await shop(doors)
    cookie = await doors.hire("owner")
    before = await holdings(doors.db)
    for method, path in [*UNSAFE, ("POST", "/v1/staff/login")]:
        for origin in ("https://evil.example", "null", doors.settings.web_url + ".evil.example", ""):
            answer = await doors.ask(method, address(path), {}, cookie, origin=origin)
            assert answer == (403, {"no": {"code": "origin", "retry": False}}), (path, origin)
    assert await holdings(doors.db) == before


async def test_a_form_of_html_opens_no_unsafe_door(doors: Doors) -> None:
    await shop(doors)
    cookie = await doors.hire("owner")
    before = await holdings(doors.db)
    refusal = {"no": {"code": "bad_request", "retry": False, "field": "content-type", "why": "application/json only"}}
    for method, path in [*UNSAFE, ("POST", "/v1/staff/login")]:
        for kind in (FORMS, "text/plain", "multipart/form-data", "application/jsonp"):
            assert await doors.ask(method, address(path), {}, cookie, content_type=kind) == (422, refusal), (path, kind)
    assert await holdings(doors.db) == before


async def test_a_cookie_is_worth_what_its_row_says_today(doors: Doors) -> None:
    await shop(doors)
    disabled = await doors.hire("owner", account="gone", disabled=True)
    logged_out = await doors.hire("owner", account="out", token_version=2)
    viewer = f"{COOKIE}={doors.tokens.issue('p:1', 'owner', '', seconds=60, audience='session')}"
    socket = f"{COOKIE}={doors.tokens.issue('s:1', 'owner', '', seconds=60)}"
    nobody = f"{COOKIE}={doors.tokens.issue('s:999', 'owner', '', seconds=60, audience='session')}"
    before = await holdings(doors.db)
    for cookie in (disabled, logged_out, viewer, socket, nobody, f"{COOKIE}=x"):
        for method, path in STAFF:
            assert (await doors.ask(method, address(path), {}, cookie))[0] == 401, (path, cookie)
    old = f"{COOKIE}={doors.tokens.issue('s:1', 'owner', '', seconds=-5, audience='session')}"
    assert await doors.ask("GET", "/v1/staff", cookie=old) == (401, {"no": {"code": "expired", "retry": False}})
    assert await holdings(doors.db) == before


async def test_a_one_time_password_opens_nothing_but_the_door_to_change_it(doors: Doors) -> None:
    await shop(doors)
    cookie = await doors.hire("owner", one_time=True)
    before = await holdings(doors.db)
    for method, path in STAFF:
        if path not in ("/v1/staff/password", "/v1/staff/logout"):
            answer = await doors.ask(method, address(path), {}, cookie)
            assert answer == (403, {"no": {"code": "password_change", "retry": False}}), path
    assert await holdings(doors.db) == before


async def test_a_persons_doors_ask_for_a_person(doors: Doors) -> None:
    await shop(doors)
    guest = doors.tokens.issue("g:abc", "guest", "", seconds=60)
    staff = doors.tokens.issue("s:1", "owner", "", seconds=60)
    before = await holdings(doors.db)
    for method, path in sorted(VIEWERS):
        assert (await doors.ask(method, address(path), {}))[1]["no"]["code"] == "unauthorised", path
        for token in (guest, staff):
            status, answer = await doors.ask(method, address(path), {}, authorization=f"Bearer {token}")
            assert (status, answer["no"]["code"]) == (401, "identify"), path
    assert await holdings(doors.db) == before


async def test_an_address_nobody_could_have_been_given_is_a_typed_refusal(doors: Doors) -> None:
    """Ids beyond 64 bits and NUL, which PostgreSQL's text cannot hold, must not come out as a fault of ours."""
    await shop(doors)
    cookie = await doors.hire("owner")
    person = f"Bearer {doors.tokens.issue('p:1', 'viewer', '', seconds=60)}"
    before = await holdings(doors.db)
    for method, path in [*STAFF, *VIEWERS, ("GET", "/v1/rooms/{room}")]:
        if "{" not in path:
            continue
        for value in (str(2**63), str(2**80)) if "id}" in path else ("%00", "%F0%9F%8D%B5", "x" * 300):
            there = path
            for place in PLACES:
                there = there.replace(place, value)
            body = {"collect": {"code": "AAAA-AAAA-A"}, "stock": {"location": "S1", "qty": 1}, "pin": {"offer": 2**70}}
            status, answer = await doors.ask(method, there, body.get(path.rsplit("/", 1)[1], {}), cookie, authorization=person)
            assert status in (200, 404, 422), (method, path, value, status, answer)
    assert await holdings(doors.db) == before


async def test_a_page_nobody_could_have_been_given_is_not_there(doors: Doors) -> None:
    for path in (
        "/room/%00",
        "/room/" + "x" * 300,
        "/room/%F0%9F%8D%B5",
        "/media/%00",
        "/media/" + "x" * 300,
        "/static/%00",
        "/static/room",
    ):
        assert (await doors.client.get(path)).status_code == 404, path
