"""Doors of the staff: the cookie and the accounts behind it."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, get_args

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.admission import admit
from live.infra.db import utc_now
from live.infra.doors import Form, Nothing
from live.infra.doors import json as _json
from live.people import queries, rules
from live.people.queries import staff_view
from live.people.staff import actions
from live.people.staff.passwords import one_time_password, passwords
from live.people.tables import Staff
from live.protocol.codes import Code, Refusal
from live.protocol.commands import Place

Account = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1000)]  # argon2 takes any length; a body of 256 KiB it shall not
Name = Annotated[str, StringConstraints(max_length=100)]
Role = Literal["owner", "host", "moderator", "clerk", "leader"]


class LoginForm(Form):
    """Account and password."""

    account: Account
    password: Password


class PasswordForm(Form):
    """The password so far and the one from now on."""

    old: Password
    new: Password


class SocketForm(Form):
    """Which room's console."""

    room: Place


class AccountForm(Form):
    """One account."""

    account: Account


class NewStaffForm(AccountForm):
    """A new account; clerks name their store."""

    name: Name
    role: Role
    store: Place | None = None


class EditForm(AccountForm):
    """What is to change."""

    name: Name | None = None
    role: Role | None = None
    store: Place | None = None
    disabled: bool | None = None


async def admit_login(request: Request) -> None:
    """Every login counts against its address, whoever logs in. Refusal(SLOW_DOWN wait)."""
    await admit(request, "login", request.state.settings.logins_per_second, request.state.settings.login_burst)


async def login(request: Request) -> Response:
    """POST /v1/staff/login {account, password} → {you, password_change?}, and the cookie."""
    security.same_site(request)  # or a foreign page could log somebody in as somebody else
    await admit_login(request)
    form = await security.body(request, LoginForm)
    row = await actions.login(request.state.db, form.account.strip().lower(), form.password, utc_now())
    answer: dict[str, Any] = {"you": staff_view(row)}
    if row.one_time:
        answer["password_change"] = True
    return _with_cookie(request, row, answer)


async def change_password(request: Request) -> Response:
    """POST /v1/staff/password {old, new} → {you}; other sessions of this account end."""
    identity = await security.staff(request, "self", one_time=True)
    form = await security.body(request, PasswordForm)
    account = await _account(request, identity.id)
    row = await actions.change_password(request.state.db, account, form.old, form.new, utc_now())
    await security.revoke(request.state.redis, identity.sub, utc_now())
    return _with_cookie(request, row, {"you": staff_view(row)})


async def logout(request: Request) -> Response:
    """POST /v1/staff/logout {} → {}; every session of this account ends, sockets too."""
    identity = await security.staff(request, "self", one_time=True)
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        await actions.logout(session, await _account(request, identity.id))
    await security.revoke(request.state.redis, identity.sub, utc_now())
    response = _json({})
    response.delete_cookie(security.COOKIE, path="/", httponly=True, samesite="strict", secure=_secure(request))
    return response


async def me(request: Request) -> Response:
    """GET /v1/staff/me → {you, rooms, stores}."""
    identity = await security.staff(request, "self")
    async with request.state.db.begin() as session:
        row = await session.get(Staff, identity.id)
        around = await queries.surroundings(session)
    return _json({"you": staff_view(row), **around})


async def socket(request: Request) -> Response:
    """POST /v1/staff/socket {room} → {token, hub_url}: a short-lived token that lets a console hear every comment of this room."""
    now = time.time()  # before the account is looked at: the body may be sent slowly, and a revocation meanwhile ends what comes of it
    identity = await security.staff(request, "console.socket")
    form = await security.body(request, SocketForm)
    settings = request.state.settings
    seconds = settings.token_seconds
    token = request.state.tokens.issue(
        identity.sub, identity.role, identity.name, seconds=seconds, room=form.room, store=identity.store, version=identity.version, now=now
    )
    return _json({"token": token, "expires": (int(now) + seconds) * 1000, "hub_url": settings.hub_url})


async def create(request: Request) -> Response:
    """POST /v1/staff {account, name, role, store?} → {account, one_time_password}; it is shown this once."""
    await security.staff(request, "staff.create")
    form = await security.body(request, NewStaffForm)
    password = one_time_password()
    kept = await passwords.hash(password)
    async with request.state.db.begin() as session:
        row = await actions.create(session, account=form.account, name=form.name, role=form.role, store=form.store, password_hash=kept)
    return _json({"account": row.account, "one_time_password": password}, 201)


async def everybody(request: Request) -> Response:
    """GET /v1/staff → {staff: [STAFF + {disabled, one_time}]}."""
    await security.staff(request, "staff.list")
    async with request.state.db.begin() as session:
        rows = await queries.all_staff(session)
    return _json({"staff": [{**staff_view(row), "disabled": row.disabled, "one_time": row.one_time} for row in rows]})


async def edit(request: Request) -> Response:
    """POST /v1/staff/edit {account, name?, role?, store?, disabled?} → {staff}; every session of that account ends."""
    await security.staff(request, "staff.edit")
    form = await security.body(request, EditForm)
    async with request.state.db.begin() as session:
        row = await actions.edit(session, form.account, name=form.name, role=form.role, store=form.store, disabled=form.disabled)
    await security.revoke(request.state.redis, f"s:{row.id}", utc_now())
    return _json({"staff": {**staff_view(row), "disabled": row.disabled, "one_time": row.one_time}})


async def reset(request: Request) -> Response:
    """POST /v1/staff/reset {account} → {account, one_time_password}, for somebody who lost theirs."""
    await security.staff(request, "staff.edit")
    form = await security.body(request, AccountForm)
    password = one_time_password()
    kept = await passwords.hash(password)
    async with request.state.db.begin() as session:
        row = await actions.reset(session, form.account, kept)
    await security.revoke(request.state.redis, f"s:{row.id}", utc_now())
    return _json({"account": row.account, "one_time_password": password})


async def _account(request: Request, staff_id: int) -> str:
    async with request.state.db.begin() as session:
        row = await session.get(Staff, staff_id)
    if row is None:
        raise Refusal(Code.UNAUTHORISED)
    return str(row.account)


def _with_cookie(request: Request, row: Staff, answer: dict[str, Any]) -> Response:
    seconds = request.state.settings.staff_session_seconds
    token = request.state.tokens.issue(
        f"s:{row.id}", row.role, row.name, seconds=seconds, store=row.store, version=row.token_version, audience="session"
    )
    response = _json(answer)
    secure = _secure(request)
    response.set_cookie(security.COOKIE, token, max_age=seconds, path="/", httponly=True, samesite="strict", secure=secure)
    return response


def _secure(request: Request) -> bool:
    return bool(request.state.settings.web_url.startswith("https://"))


assert set(rules.ROLES) == set(get_args(Role))

routes = [
    Route("/v1/staff/login", login, methods=["POST"]),
    Route("/v1/staff/password", change_password, methods=["POST"]),
    Route("/v1/staff/logout", logout, methods=["POST"]),
    Route("/v1/staff/me", me, methods=["GET"]),
    Route("/v1/staff/socket", socket, methods=["POST"]),
    Route("/v1/staff/edit", edit, methods=["POST"]),
    Route("/v1/staff/reset", reset, methods=["POST"]),
    Route("/v1/staff", create, methods=["POST"]),
    Route("/v1/staff", everybody, methods=["GET"]),
]
