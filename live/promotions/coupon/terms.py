"""A coupon's terms in their other shapes: in the books of an offer, on the wire, and on a grant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from live.infra.db import epoch_ms
from live.offers.rules import WATCH
from live.promotions.coupon import rules
from live.promotions.coupon.tables import CouponGrant


def stored(terms: rules.Terms, scope: Mapping[str, Any]) -> dict[str, Any]:
    """As `offer.terms` keeps them."""
    until = terms.valid_until.isoformat() if terms.valid_until else None
    facts = {"percent": terms.percent, "scope": dict(scope), "valid_seconds": terms.valid_seconds, "valid_until": until, WATCH: terms.watch}
    rare = {name: value for name, value in facts.items() if value}
    return {"off": terms.off, "threshold": terms.threshold, "audience": terms.audience, **rare}


def read(kept: Mapping[str, Any]) -> rules.Terms:
    """From `offer.terms`, also of an offer that was opened before there were conditions."""
    scope, until = kept.get("scope", {}), kept.get("valid_until")
    return rules.Terms(
        int(kept["off"]), int(kept["threshold"]), kept.get("percent"), scope.get("category"), tuple(scope.get("skus", ())),
        kept.get("audience", "all"), kept.get("valid_seconds"), datetime.fromisoformat(until) if until else None, kept.get(WATCH),
    )  # fmt: skip


def told(terms: rules.Terms, scope: Mapping[str, Any]) -> dict[str, Any]:
    """As the card in the room says them."""
    return {
        "off": terms.off,
        "threshold": terms.threshold,
        "percent": terms.percent,
        "scope": scope.get("name"),
        "audience": terms.audience,
        "watch": terms.watch,
        "valid_seconds": terms.valid_seconds,
        "valid_until": epoch_ms(terms.valid_until) if terms.valid_until else None,
    }


def held(grant: CouponGrant, void: bool = False) -> rules.Held:
    """A grant as the rules see it. `void`: its batch is; what an order holds is not taken from it."""
    terms = rules.Terms(
        grant.off, grant.threshold, grant.percent, grant.scope.get("category"), tuple(grant.scope.get("skus", ())), grant.audience,
        valid_until=grant.valid_until,
    )  # fmt: skip
    assert grant.id is not None
    return rules.Held(grant.id, terms, "VOID" if void and grant.state == "CLAIMED" else grant.state, grant.order_no, grant.valid_until)
