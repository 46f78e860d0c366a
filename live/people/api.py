"""Doors of viewers: guest, the two logins, a fresh token. Those of the staff are in `staff/api.py`."""

from __future__ import annotations

import secrets
import time
from typing import Annotated

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.admission import admit
from live.infra.db import utc_now
from live.infra.doors import Form
from live.infra.doors import json as _json
from live.infra.security import Identity
from live.people import actions, queries, rules
from live.people.following import api as following
from live.people.sharing import api as sharing
from live.people.staff import api as staff_api
from live.people.staff.api import admit_login
from live.people.tables import Person
from live.protocol.codes import Code, Refusal

Name = Annotated[str, StringConstraints(max_length=100)]


class GuestForm(Form):
    """A guest may give a name."""

    name: Name | None = None


class WechatForm(Form):
    """`code`: of wx.login."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    name: Name | None = None


class PhoneForm(Form):
    """Where to send a code."""

    phone: Annotated[str, StringConstraints(max_length=20)]


class PhoneLoginForm(PhoneForm):
    """The code that was sent."""

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
    name: Name | None = None


async def guest(request: Request) -> Response:
    """POST /v1/guest {name?} → {token, expires, you}."""
    config = request.state.settings
    await admit(request, "guest", config.guests_per_second, config.guest_burst)
    form = await security.body(request, GuestForm)
    sub = secrets.token_hex(8)
    name = rules.display_name(form.name) or f"游客 {sub[:4]}"
    return _token(request, f"g:{sub}", "guest", name)


async def login_wechat(request: Request) -> Response:
    """POST /v1/login/wechat {code, name?} → {token, expires, you}."""
    await admit_login(request)
    form = await security.body(request, WechatForm)
    openid = await request.state.wechat.openid(form.code)
    async with request.state.db.begin() as session:
        person = await actions.login_openid(session, openid, rules.display_name(form.name), utc_now())
    return _person_token(request, person)


async def send_code(request: Request) -> Response:
    """POST /v1/login/phone/code {phone} → {sent, demo_code?}."""
    await admit_login(request)
    phone = _phone(await security.body(request, PhoneForm))
    if request.state.settings.env != "demo":
        raise Refusal(Code.UNAVAILABLE, why="No SMS sender is connected yet; please log in with WeChat.")
    async with request.state.db.begin() as session:
        code = await actions.send_code(session, phone, _key(request), utc_now())
    return _json({"sent": True, "demo_code": code})


async def login_phone(request: Request) -> Response:
    """POST /v1/login/phone {phone, code, name?} → {token, expires, you}. With a person's token, the phone becomes that person's."""
    await admit_login(request)
    form = await security.body(request, PhoneLoginForm)
    phone = _phone(form)
    current = security.bearer(request) if "authorization" in request.headers else None
    mine = (current.id, current.version) if current is not None and current.known else None
    async with request.state.db.begin() as session:
        person = await actions.login_phone(
            session,
            phone=phone,
            code=form.code,
            name=rules.display_name(form.name),
            current=mine,
            key=_key(request),
            now=utc_now(),
        )
    if person is None:
        raise Refusal(Code.WRONG_CODE)
    return _person_token(request, person)


async def refresh(request: Request) -> Response:
    """POST /v1/token/refresh → {token, expires, you}. A token that ended within a day will do; a login ends after 30 days."""
    token = security.bearer_token(request)
    identity: Identity = request.state.tokens.read(token, grace=rules.REFRESH_GRACE)
    if identity.staff:
        raise Refusal(Code.UNAUTHORISED)  # consoles ask /v1/staff/socket, which looks at the account
    if identity.since + rules.LOGIN_LIFE < time.time():
        raise Refusal(Code.EXPIRED)
    if security.revoked(identity, await request.state.redis.get(security.not_before_key(identity.sub))):
        raise Refusal(Code.UNAUTHORISED)
    if not identity.known:
        return _token(request, identity.sub, identity.role, identity.name, since=identity.since)
    async with request.state.db.begin() as session:
        person = await queries.person(session, identity.id)
    if person is None or person.token_version != identity.version:
        raise Refusal(Code.UNAUTHORISED)
    return _person_token(request, person, since=identity.since)


def _phone(form: PhoneForm) -> str:
    phone = rules.phone(form.phone)
    if phone is None:
        raise Refusal(Code.BAD_REQUEST, field="phone", why="not a mainland mobile number")
    return phone


def _key(request: Request) -> str:
    return security.secret(request.state.settings, "token_secret")


def _person_token(request: Request, person: Person, since: int | None = None) -> Response:
    return _token(request, f"p:{person.id}", "viewer", person.name, version=person.token_version, since=since)


def _token(request: Request, sub: str, role: str, name: str, *, version: int = 1, since: int | None = None) -> Response:
    seconds = request.state.settings.token_seconds
    token = request.state.tokens.issue(sub, role, name, seconds=seconds, version=version, since=since)
    you = {"sub": sub, "name": name, "known": sub.startswith("p:")}
    return _json({"token": token, "expires": (int(time.time()) + seconds) * 1000, "you": you})


routes = [
    Route("/v1/guest", guest, methods=["POST"]),
    Route("/v1/login/wechat", login_wechat, methods=["POST"]),
    Route("/v1/login/phone/code", send_code, methods=["POST"]),
    Route("/v1/login/phone", login_phone, methods=["POST"]),
    Route("/v1/token/refresh", refresh, methods=["POST"]),
    *following.routes,
    *sharing.routes,
    *staff_api.routes,
]
