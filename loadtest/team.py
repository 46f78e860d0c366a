"""A group of many members, laid into the books at once as the till and the payers would have: `great_refund` begins with it."""

from __future__ import annotations

from typing import Any

from live.infra.redis import connect
from loadtest.books import opened
from loadtest.reopen import BULK
from loadtest.stage import COLUMNS, PRICE, SKU, STORE, House, Owner

# On top of `reopen.BULK`: every order is a seat, with one attempt that the provider knows.
SEATS = (
    "UPDATE team SET held = held + %(seats)s, version = version + 1 WHERE offer_id = %(offer)s",
    "UPDATE orders o SET team_id = t.id FROM team t, order_line l"
    " WHERE t.offer_id = %(offer)s AND l.offer_id = %(offer)s AND l.order_no = o.no",
    "INSERT INTO pay_attempt (order_no, out_trade_no, payer, fen, state, winner, prepay_id, expires_at)"
    " SELECT no, no || '-1', 'payer', fen - discount, 'SENT', false, 'P' || no, pay_until FROM orders WHERE team_id IS NOT NULL",
)
PAID = (
    "UPDATE pay_attempt SET state = 'SUCCEEDED', winner = true, transaction_id = 'T' || order_no, paid_at = now()",
    "UPDATE orders SET state = 'GROUP_WAIT', paid_at = now(), version = version + 1 WHERE team_id IS NOT NULL",
    "UPDATE team SET paid = held, held = 0, version = version + 1 WHERE offer_id = %(offer)s",
)


async def open_team(boss: Owner, room: str, size: int, minimum: int, tiers: list[dict[str, int]], per_person: int = 1) -> int:
    """A store, a live room, and a group of so many seats in it. Returns the offer's id. Raises StageError."""
    await boss.post("/v1/stores", {"code": STORE, "name_zh": "一店", "name_en": "One"})
    row = f"tea,茶,Tea,storm,风暴,Storm,{SKU},盒,Box,{PRICE / 100:.2f},,{size}"
    await boss.post("/v1/import", {"csv": f"{COLUMNS},stock:{STORE}\n{row}\n"})
    await boss.post("/v1/rooms", {"id": room, "title_zh": "拼团", "title_en": "Group"})
    await boss.post(f"/v1/rooms/{room}/start", {})
    body = {"sku": SKU, "per_person": per_person, "stock": {STORE: size}, "size": size, "minimum": minimum, "tiers": tiers}
    return int((await boss.post(f"/v1/rooms/{room}/groups", body))["offer"])


async def join(found: House, offer: int, members: int, *, paid: bool) -> list[str]:
    """So many members with an order each, `paid` or about to pay; returns the orders' numbers. The turnstile is rebuilt from the books."""
    values: dict[str, Any] = {"offers": [offer], "counts": [members], "store": STORE, "sku": SKU, "offer": offer, "seats": members}
    async with opened(found.database_url) as connection:
        for statement in (*BULK, *SEATS, *(PAID if paid else ())):
            await connection.execute(statement, values)
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute("VACUUM ANALYZE")  # as autovacuum would have, long before so many orders are there
    redis = connect(found.redis_url)
    try:
        await redis.flushall()  # the turnstile learns of the orders that were written past it
    finally:
        await redis.aclose()
    return [f"B{offer}-{n}" for n in range(1, members + 1)]
