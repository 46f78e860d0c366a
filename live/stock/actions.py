"""Stock moves. `allotted` is what shows may sell; `on_hand` changes only together with a StockChange that says why.

Rows of several stores must be taken in (sku, location) order by the caller, so that two transactions never wait for each other.
"""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlmodel import col

from live.protocol.codes import Code, Refusal
from live.stock.tables import Location, Stock, StockChange


async def allot(session: AsyncSession, sku_id: int, location: str, qty: int) -> None:
    """Ring-fence `qty` free units for a show. Raises Refusal(NOT_ENOUGH_STOCK have location)."""
    _positive(qty)
    enough = col(Stock.on_hand) - col(Stock.allotted) >= qty
    if not await _changed(session, sku_id, location, enough, on_hand=0, allotted=qty):
        row = await session.get(Stock, (sku_id, location), populate_existing=True)
        raise Refusal(Code.NOT_ENOUGH_STOCK, have=row.on_hand - row.allotted if row else 0, location=location)


async def unallot(session: AsyncSession | AsyncConnection, sku_id: int, location: str, qty: int) -> None:
    """Give ring-fenced units back to the shop. Raises Refusal(STATE) when fewer are ring-fenced, which is an error of the caller."""
    _positive(qty)
    if not await _changed(session, sku_id, location, col(Stock.allotted) >= qty, on_hand=0, allotted=-qty):
        raise Refusal(Code.STATE, state="not_allotted", location=location)


async def collected(session: AsyncSession, sku_id: int, location: str, qty: int, cause: str) -> None:
    """Sold units leave the store. Does nothing when `cause` was counted before. Raises Refusal(STATE) when they were not ring-fenced."""
    _positive(qty)
    if not await _first(session, sku_id, location, -qty, cause):
        return
    if not await _changed(session, sku_id, location, col(Stock.allotted) >= qty, on_hand=-qty, allotted=-qty):
        raise Refusal(Code.STATE, state="not_allotted", location=location)


async def receive(session: AsyncSession, sku_id: int, location: str, qty: int, cause: str) -> None:
    """Units arrive (delivered, returned, counted). Does nothing when `cause` was counted before."""
    _positive(qty)
    if await _first(session, sku_id, location, qty, cause):
        row = insert(Stock).values(sku_id=sku_id, location=location, on_hand=qty, allotted=0)
        added = {"on_hand": col(Stock.on_hand) + qty}
        await session.execute(row.on_conflict_do_update(index_elements=["sku_id", "location"], set_=added))


async def create_store(session: AsyncSession, store: Location) -> Location:
    """A new store. Raises Refusal(STATE) when its code is taken."""
    values = store.model_dump()
    made = await session.execute(insert(Location).values(**values).on_conflict_do_nothing().returning(col(Location.code)))
    if made.scalar_one_or_none() is None:
        raise Refusal(Code.STATE, state="exists", field="code")
    return store


def _positive(qty: int) -> None:
    if qty < 1:
        raise ValueError(f"a stock move of {qty} units")  # a sign error of ours, never the user's: doors check what they are given


async def _changed(
    session: AsyncSession | AsyncConnection, sku_id: int, location: str, when: object, *, on_hand: int, allotted: int
) -> bool:
    move = update(Stock).where(col(Stock.sku_id) == sku_id, col(Stock.location) == location, when)  # type: ignore[arg-type]
    move = move.values(on_hand=col(Stock.on_hand) + on_hand, allotted=col(Stock.allotted) + allotted)
    done = await session.execute(move.returning(col(Stock.sku_id)).execution_options(synchronize_session=False))
    return done.scalar_one_or_none() is not None


async def _first(session: AsyncSession, sku_id: int, location: str, qty: int, cause: str) -> bool:
    row = insert(StockChange).values(sku_id=sku_id, location=location, qty=qty, cause=cause)
    row = row.on_conflict_do_nothing(index_elements=["cause"])
    return (await session.execute(row.returning(col(StockChange.id)))).scalar_one_or_none() is not None
