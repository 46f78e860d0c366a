"""Who is asking: signed tokens, the staff cookie, request bodies, client addresses and keyed hashes.

Used by web and hub alike, so nothing here may import SQLAlchemy or Starlette: requests are described by what is read of them, and the
one SQL statement goes through the connection it is handed. A token is a signature over facts, never a permission: HTTP doors of the
staff read their row each time, sockets are closed through Redis (`revoke`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

import jwt
from pydantic import BaseModel, ValidationError
from redis.asyncio import Redis

from live.infra import folder
from live.protocol.codes import Code, Refusal
from live.settings import Settings

COOKIE = "live_staff"
BODY_BYTES = 256 * 1024  # the largest ordinary body is a mini shop form; the import door asks for more
SECRET_CHARACTERS = 32  # in production: 32 characters of base64 are 192 bits, above what HS256 needs
REVOKED_SECONDS = 86_400  # longer than any token lives, the refresh grace included
REVOKED = "auth:revoked"  # zset: subject by the moment its older tokens ended
CHANNEL = "auth"  # PUBLISH channel; the message is the subject whose sockets must go
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
Audience = Literal["socket", "session"]
# verify_iat off: with hosts a few milliseconds apart, a token would be refused for coming from the future.
_OPTIONS: Any = {"require": ["exp", "iat", "sub", "aud"], "verify_iat": False}
Model = TypeVar("Model", bound=BaseModel)


class SecretMissingError(RuntimeError):
    """Production needs a secret that was not set, or that is too short to be one."""


class Request(Protocol):
    """What is read of an HTTP request."""

    @property
    def method(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def state(self) -> Any: ...
    def stream(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who holds a token. `sub`: `p:<id>` a known person, `g:<hex>` a guest, `s:<id>` staff. Times in epoch seconds."""

    sub: str
    role: str  # guest, viewer, owner, host, moderator, clerk, leader
    name: str
    room: str | None
    store: str | None
    version: int  # the row's token_version when this was issued
    exp: int
    issued: float = 0.0
    since: int = 0  # when this person last logged in; refreshing keeps it

    @property
    def known(self) -> bool:
        """May buy and claim."""
        return self.sub.startswith("p:")

    @property
    def staff(self) -> bool:
        """Works here."""
        return self.sub.startswith("s:")

    @property
    def id(self) -> int:
        """Id of the person's or staff row. Raises ValueError for a guest, who has none."""
        kind, _, number = self.sub.partition(":")
        if kind == "g":
            raise ValueError("a guest has no row")
        return int(number)


class Tokens:
    """Issues and reads tokens (JWT, HS256). `previous` is still read while a secret is being replaced, never issued."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self._secrets = [secret, previous] if previous else [secret]

    def issue(
        self,
        sub: str,
        role: str,
        name: str,
        *,
        seconds: int,
        room: str | None = None,
        store: str | None = None,
        version: int = 1,
        audience: Audience = "socket",
        since: int | None = None,
        now: float | None = None,
    ) -> str:
        """A token for `seconds`. Pages can read a `socket` one, so it is no good as the `session` cookie, and the other way round.

        `now`: epoch seconds from which it counts, this moment unless given; a revocation after it ends the token.
        """
        now = time.time() if now is None else now
        claims = {"sub": sub, "role": role, "name": name, "version": version, "aud": audience}
        claims |= {"exp": int(now) + seconds, "iat": round(now, 6), "since": int(now) if since is None else since}
        claims |= {key: value for key, value in (("room", room), ("store", store)) if value is not None}
        return jwt.encode(claims, self._secrets[0], algorithm="HS256")

    def read(self, token: str, *, audience: Audience = "socket", grace: int = 0) -> Identity:
        """The identity in a token. Raises Refusal(EXPIRED) past its end (+ `grace` seconds), else Refusal(UNAUTHORISED)."""
        for secret in self._secrets:
            try:
                claims = jwt.decode(token, secret, algorithms=["HS256"], audience=audience, leeway=grace, options=_OPTIONS)
                return _identity(claims)
            except jwt.ExpiredSignatureError:
                raise Refusal(Code.EXPIRED) from None
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
                break
        raise Refusal(Code.UNAUTHORISED)


def _identity(claims: Mapping[str, Any]) -> Identity:
    return Identity(
        sub=str(claims["sub"]),
        role=sys.intern(str(claims["role"])),
        name=str(claims["name"]),
        room=claims.get("room"),
        store=claims.get("store"),
        version=int(claims["version"]),
        exp=int(claims["exp"]),
        issued=float(claims["iat"]),
        since=int(claims["since"]),
    )


def secret(settings: Settings, name: str) -> str:
    """The secret `token_secret`, `pickup_secret`, … : the setting, else (outside production) home/secrets/<name>, made once, mode 0600.

    Raises SecretMissingError in production when it is not set or shorter than 32 characters.
    """
    given: str | None = getattr(settings, name, None)
    if settings.env == "production" and len(given or "") < SECRET_CHARACTERS:
        raise SecretMissingError(f"Set LIVE_{name.upper()} to a random text of at least {SECRET_CHARACTERS} characters.")
    return given or folder.secret(settings.home, name)


def keyed_hash(key: str, *parts: str) -> str:
    """HMAC-SHA256 of the parts, in hex. The first part should name the purpose, so that no hash serves for two."""
    return hmac.new(key.encode(), "\x00".join(parts).encode(), hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Equality that takes the same time wherever the texts differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def client_address(peer: str, forwarded: Iterable[str], proxies: frozenset[str]) -> str:
    """The client's address: `peer`, unless that is one of our proxies.

    `forwarded`: every X-Forwarded-For value in order (`headers.getlist(…)` in Starlette, `get_all` in websockets). It is read from the
    right, since only what our own proxies appended is true; the first address that is not a proxy is the client.
    """
    if peer not in proxies:
        return peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    client = peer
    for hop in reversed(hops):
        try:
            client = str(ipaddress.ip_address(hop))
        except ValueError:
            return client  # what lies further left was not written by a proxy of ours
        if client not in proxies:
            return client
    return client


def bearer(request: Request) -> Identity:
    """The holder of the Authorization header's token; guests too. Raises Refusal(UNAUTHORISED or EXPIRED)."""
    return request.state.tokens.read(bearer_token(request))  # type: ignore[no-any-return]


def bearer_token(request: Request) -> str:
    """The token of the Authorization header, unread. Raises Refusal(UNAUTHORISED)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(Code.UNAUTHORISED)
    return token.strip()


def known(request: Request) -> Identity:
    """As `bearer`, for doors that need a person. Raises Refusal(IDENTIFY) for guests and for staff, who buy as persons too."""
    identity = bearer(request)
    if not identity.known:
        raise Refusal(Code.IDENTIFY)
    return identity


async def staff(request: Request, act: str, *, one_time: bool = False) -> Identity:
    """Who of the staff is asking, when their role may do `act` (`request.state.may`: act → roles, from people/rules.py).

    The row is read each time: a disabled account, a changed role or a logout counts at once. `one_time`: the door also serves those who
    must change their password first. Raises Refusal(UNAUTHORISED, EXPIRED, PASSWORD_CHANGE, FORBIDDEN, ORIGIN or BAD_REQUEST).
    """
    roles: frozenset[str] = request.state.may[act]
    same_site(request)
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise Refusal(Code.UNAUTHORISED)
    identity: Identity = request.state.tokens.read(cookie, audience="session")
    if not identity.staff:
        raise Refusal(Code.UNAUTHORISED)
    async with request.state.db.connection() as connection:
        query = "SELECT role, name, store, token_version, one_time FROM staff WHERE id = %(id)s AND NOT disabled"
        row = (await connection.exec_driver_sql(query, {"id": identity.id})).one_or_none()
    if row is None or row.token_version != identity.version:
        raise Refusal(Code.UNAUTHORISED)
    if row.one_time and not one_time:
        raise Refusal(Code.PASSWORD_CHANGE)
    if row.role not in roles:
        raise Refusal(Code.FORBIDDEN, role=row.role)
    return Identity(identity.sub, row.role, row.name, None, row.store, identity.version, identity.exp, identity.issued, identity.since)


def same_site(request: Request) -> None:
    """Unsafe methods that live on a cookie come as JSON, from a page of ours. Raises Refusal(ORIGIN or BAD_REQUEST)."""
    if request.method in SAFE_METHODS:
        return
    if request.headers.get("origin") not in request.state.settings.origins:
        raise Refusal(Code.ORIGIN)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(Code.BAD_REQUEST, field="content-type", why="application/json only")


async def body(request: Request, model: type[Model], limit: int = BODY_BYTES) -> Model:
    """The JSON body as `model`, strictly. Raises Refusal(TOO_LARGE limit) or Refusal(BAD_REQUEST field why)."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise Refusal(Code.TOO_LARGE, limit=limit)
    if b"\\u0000" in raw:
        raise Refusal(Code.BAD_REQUEST, field="body", why="contains NUL")  # PostgreSQL's text cannot hold it
    return parse(model, bytes(raw))


def parse(model: type[Model], raw: bytes) -> Model:
    """JSON as `model`, strictly. Raises Refusal(BAD_REQUEST field why)."""
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Refusal(Code.BAD_REQUEST, field="body", why="not JSON") from None
        raise Refusal(Code.BAD_REQUEST, field=".".join(map(str, first["loc"])) or "body", why=first["type"]) from None


async def revoke(redis: Redis, sub: str, now: datetime) -> None:
    """End every socket token of `sub` issued before `now`; hubs close its sockets within 2 s. Call it after the commit."""
    await redis.set(not_before_key(sub), f"{now.timestamp():.6f}", ex=REVOKED_SECONDS)
    await redis.zadd(REVOKED, {sub: round(now.timestamp(), 6)})  # what a hub reads that was away
    await redis.zremrangebyscore(REVOKED, "-inf", now.timestamp() - REVOKED_SECONDS)
    await redis.publish(CHANNEL, sub)


def not_before_key(sub: str) -> str:
    """Where Redis keeps the moment (epoch seconds with a fraction) before which no token of `sub` counts."""
    return f"auth:not_before:{sub}"


def revoked(identity: Identity, not_before: bytes | str | None) -> bool:
    """Whether the token is older than the value under `not_before_key`."""
    return not_before is not None and identity.issued < float(not_before)
