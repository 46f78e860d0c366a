"""Commands a client sends: `{"id": 7, "t": "buy", "d": {…}}`. Unknown fields and types are refused; text frames of at most 4 KiB."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from .codes import Code, Refusal

Key = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Place = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_-]+$")]
Seq = Annotated[int, Field(ge=0, lt=2**53)]


class Strict(BaseModel):
    """The server refuses what it does not know; clients ignore it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HelloData(Strict):
    """`e`, `s`: log epoch and last critical position held; `p`: last own position. Omitted on a first join."""

    v: Literal[1]
    token: Annotated[str, Field(min_length=1, max_length=2048)]
    room: Place
    e: Annotated[str, Field(max_length=32)] | None = None
    s: Seq | None = None
    p: Seq | None = None


class SayData(Strict):
    """`cid`: the client's id of this comment, so that a resend is not said twice."""

    cid: Key
    text: Annotated[str, Field(max_length=1000)]


class LikeData(Strict):
    """Likes are summed by the client; at most 20 a frame."""

    n: Annotated[int, Field(ge=1, le=20)]


class Line(Strict):
    """`version`: the price version the buyer saw."""

    offer: Seq
    qty: Annotated[int, Field(ge=1, le=99)]
    version: Seq


class BuyData(Strict):
    """`key`: one per tap, kept for retries; `try`: counts them from 1; `at`: acceptable stores, best first; `team`: the small team
    to join, where the offer has such (without it the order opens one)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    key: Key
    tries: Annotated[int, Field(ge=1, le=10_000, alias="try")] = 1
    lines: Annotated[list[Line], Field(min_length=1, max_length=5)]
    at: Annotated[list[Place], Field(min_length=1, max_length=8)]
    team: Seq | None = None


class ClaimData(Strict):
    """Claim one coupon, or one share of a packet. `word`: what a packet with a password wants to hear."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    key: Key
    tries: Annotated[int, Field(ge=1, le=10_000, alias="try")] = 1
    offer: Seq
    word: Annotated[str, Field(max_length=40)] = ""


class AskData(Strict):
    """What became of the tap with this key?"""

    key: Key


class RefreshData(Strict):
    """A new token for the same person, taken over without closing the socket."""

    token: Annotated[str, Field(min_length=1, max_length=2048)]


class PingData(Strict):
    """`at`: the client's clock, given back."""

    at: Seq | None = None


class Framed(Strict):
    """What every command carries: `id`, repeated by its reply."""

    id: Annotated[int, Field(ge=0, lt=2**53)]


class Hello(Framed):
    """First frame: who, which room, from where."""

    t: Literal["hello"]
    d: HelloData


class Say(Framed):
    """A comment."""

    t: Literal["say"]
    d: SayData


class Like(Framed):
    """Hearts."""

    t: Literal["like"]
    d: LikeData


class Buy(Framed):
    """An intent to buy."""

    t: Literal["buy"]
    d: BuyData


class Claim(Framed):
    """An intent to take a coupon."""

    t: Literal["claim"]
    d: ClaimData


class Ask(Framed):
    """A question about an earlier intent."""

    t: Literal["ask"]
    d: AskData


class Refresh(Framed):
    """A fresh token in place."""

    t: Literal["refresh"]
    d: RefreshData


class Ping(Framed):
    """Application ping: mini-programs cannot see protocol pings."""

    t: Literal["ping"]
    d: PingData = PingData()


Command = Hello | Say | Like | Buy | Claim | Ask | Refresh | Ping
_adapter: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="t")])


def parse(raw: bytes | str) -> Command:
    """One text frame as a command. Raises Refusal(BAD_REQUEST or UNKNOWN); the facts carry `id` when it could be read."""
    try:
        return _adapter.validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error, raw) from None
    except (ValueError, RecursionError):
        raise Refusal(Code.BAD_REQUEST, why="not JSON") from None


def _refusal(error: ValidationError, raw: bytes | str) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind = first["type"]
    if kind == "json_invalid":
        return Refusal(Code.BAD_REQUEST, why="not JSON")
    facts = _id(raw)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return Refusal(Code.UNKNOWN, field="t", **facts)
    where = ".".join(str(part) for part in first["loc"][1:])[:64] or "frame"
    return Refusal(Code.BAD_REQUEST, field=where, why=kind, **facts)


def _id(raw: bytes | str) -> dict[str, Any]:
    """The frame's id, so that a client's question is answered even when the rest of it is wrong."""
    frame = from_json(raw)
    number = frame.get("id") if isinstance(frame, dict) else None
    return {"id": number} if type(number) is int and 0 <= number < 2**53 else {}


def schema() -> dict[str, Any]:
    """JSON Schema of every command."""
    return _adapter.json_schema()
