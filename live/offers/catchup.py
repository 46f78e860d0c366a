"""What the books have and the turnstile lacks. Its mark, the last movement applied per place, rises without gaps: by one movement of the
shop (`adjust.lua`) or by the holds of one group (`settle.lua`). A script that would leave a gap changes nothing and says so; then the
movements between are read from the books and sent first. That happens when two owners of a room overtake each other, and after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.offers.reservations import Behind, adjust
from live.offers.till import Move

TRIES = 3  # of one call: a turnstile that is behind again each time is being changed by something else
MOST = 200  # movements of the shop that are sent one by one; a turnstile that lacks more has lost more than movements


async def send(redis: Redis, room: str, move: Move) -> int:
    """One movement to the turnstile: see `reservations.adjust`, also for what it raises."""
    return await adjust(redis, room, move.offer, move.place, move.move_no, move.left, move.person, move.used, move.seats, move.run)


async def abreast(db: Database, redis: Redis, room: str, act: Callable[[], Awaitable[int]]) -> int:
    """Do `act` at the turnstile, after what it lacks. Raises Behind when that does not help: then the room is to be rebuilt."""
    for _ in range(TRIES - 1):
        try:
            return await act()
        except Behind as found:
            behind = found
        for offer, place, after, to in behind.gaps:
            async with db.connection() as connection:
                moves = await missing(connection, offer, place, after, to)
            with suppress(Behind):  # another one is at it, or it was rolled back: the next try sees
                for move in moves:
                    await send(redis, room, move)
    return await act()


async def missing(connection: AsyncConnection, offer: int, place: str, after: int, to: int) -> list[Move]:
    """Movements `after` < number <= `to` as the turnstile must apply them. Holds change nothing there: a run of them is one move.

    The numbers have no gaps, so what is not one of the shop's is a hold. Nothing when there are more than MOST.
    """
    moves: list[Move] = []
    values = {"o": offer, "l": place, "after": after, "to": to, "most": MOST + 1}
    rows = (await connection.execute(_SHOPS, values)).all()
    if len(rows) > MOST:
        return []
    for number, kind, qty, person, seated in rows:
        if number > after + 1:
            moves.append(Move(offer, place, number - 1, 0, run=number - 1 - after))
        if kind in ("ADJUST", "RETURN"):
            moves.append(Move(offer, place, number, int(qty)))
        else:  # a paid seat stays paid, so only a release gives it back
            seats = -int(qty) if seated and kind == "RELEASE" else 0
            moves.append(Move(offer, place, number, -int(qty), person, int(qty) if person else 0, seats))
        after = int(number)
    if after < to:
        moves.append(Move(offer, place, to, 0, run=to - after))
    return moves


# A release and a restock have an order's rid for their cause, and its buyer is the person.
_SHOPS = text("""SELECT m.move_no, m.kind, m.qty, o.person, t.id IS NOT NULL FROM movement m
  LEFT JOIN orders o ON o.rid = m.rid AND m.kind IN ('RELEASE','RESTOCK') LEFT JOIN team t ON t.offer_id = m.offer_id
  WHERE m.offer_id = :o AND m.location = :l AND m.move_no > :after AND m.move_no <= :to AND m.kind <> 'HOLD'
  ORDER BY m.move_no LIMIT :most""")
