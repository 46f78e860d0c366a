"""What the server pushes: strict bodies, each under its own name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from live.protocol import events
from live.protocol.events import CRITICAL, STATE, event, view

BODIES: dict[str, events.Facts] = {
    "room.opened": events.RoomOpened(),
    "room.closed": events.RoomClosed(),
    "offer.opened": events.OfferOpened(offer=1, kind="sale"),
    "offer.scheduled": events.OfferScheduled(offer=1, kind="sale", opens=1),
    "sale.started": events.SaleStarted(offer=1),
    "offer.ended": events.OfferEnded(offer=1),
    "offer.sold_out": events.SoldOut(offer=1),
    "offer.back": events.BackOnSale(offer=1),
    "offer.price": events.PriceFell(offer=1, fen=5000, version=2),
    "room.pinned": events.Pinned(offer=None),
    "team.done": events.TeamDone(offer=1, state="success", fen=5000),
    "comment.withdrawn": events.CommentWithdrawn(id="c1-1"),
    "draw.opened": events.DrawOpened(draw=1),
    "draw.done": events.DrawDone(draw=1, entrants=3, won=[events.Won(ticket="t1", name="P**")]),
}
TITLE = {"zh": "茶", "en": "Tea"}
CARD = {
    "id": 1, "kind": "sale", "phase": "open", "name": TITLE, "picture": "", "fen": 1, "list_fen": 2, "version": 1, "per_person": 1,
    "total": 5, "opens": 1, "closes": None,
}  # fmt: skip


def test_there_is_a_body_for_every_event_here() -> None:
    assert set(BODIES) == set(CRITICAL)
    assert {kind: type(body) for kind, body in BODIES.items()} == CRITICAL
    assert len(set(CRITICAL.values())) == len(CRITICAL)  # or a pair could be mixed up unseen


@pytest.mark.parametrize("kind", CRITICAL)
def test_an_event_is_its_type_and_its_body_and_no_other_body_fits(kind: str) -> None:
    assert event(kind, BODIES[kind]) == [kind, BODIES[kind].model_dump()]
    assert orjson.loads(orjson.dumps(event(kind, BODIES[kind]))) == event(kind, BODIES[kind])
    for other, body in BODIES.items():
        if other != kind:
            with pytest.raises(TypeError, match=CRITICAL[kind].__name__):
                event(kind, body)


def test_an_event_there_is_not_cannot_be_sent() -> None:
    with pytest.raises(KeyError):
        event("offer.exploded", events.SoldOut(offer=1))

    class Louder(events.SoldOut):
        pass

    with pytest.raises(TypeError):
        event("offer.sold_out", Louder(offer=1))


@pytest.mark.parametrize(
    "model",
    [*CRITICAL.values(), *STATE.values(), events.OrderView, events.GrantView, events.WaitView, events.PacketView, events.PrizeView,
     events.Comment, events.Names],
)  # fmt: skip
def test_no_body_takes_what_it_does_not_know_or_changes_once_built(model: type[events.Facts]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"] is True
    with pytest.raises(ValidationError):
        model.model_validate({"surprise": 1})


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (events.OfferView, CARD | {"kind": "gift"}), (events.OfferView, CARD | {"phase": "paused"}),
        (events.OfferView, CARD | {"fen": 1.5}),
        (events.OfferView, CARD | {"name": "Tea"}), (events.OfferView, {k: v for k, v in CARD.items() if k != "closes"}),
        (events.RoomView, {"phase": "paused", "title": TITLE, "pin": None}), (events.RoomView, {"phase": "live", "title": TITLE}),
        (events.TeamDone, {"offer": 1, "state": "filling", "fen": 1}), (events.LeftView, {"left": {"S1": None}}),
        (events.OrderView, {"no": "A", "version": 1, "state": "PAID", "fen": 1, "t": "coupon"}),
        (events.GrantView, {"id": 1, "version": 1, "offer": 1, "state": "CLAIMED", "t": "order"}),
        (events.WaitView, {"id": 1, "version": 1, "offer": 1, "qty": 1, "state": "LAPSED"}),
    ],
)  # fmt: skip
def test_a_wrong_body_fails_when_it_is_built_and_not_in_a_client(model: type[events.Facts], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(wrong)


def test_a_view_is_plain_json_with_every_field() -> None:
    card = view(events.OfferView.model_validate(CARD))
    none = ("void", "packet", "sku", "coupon", "tiers", "minimum", "per_order", "countdown", "leader", "team")
    bare = dict.fromkeys(none) | {"stopped": False, "unpaid": False}
    assert card == CARD | bare
    assert orjson.loads(orjson.dumps(card)) == card
    assert view(events.GrantView(id=1, version=2, offer=3, state="CLAIMED")) == {
        "t": "coupon", "id": 1, "version": 2, "offer": 3, "state": "CLAIMED", "void": None,
    }  # fmt: skip
    assert view(events.OrderView(no="A", version=1, state="PAID", fen=1))["t"] == "order"


def test_every_state_key_has_a_body_named_by_its_first_word() -> None:
    assert set(STATE) == {"room", "offer", "left", "team", "teams", "waitlist", "draw", "follows"}
    assert view(events.LeftView(left={"S1": 3})) == {"left": {"S1": 3}}
