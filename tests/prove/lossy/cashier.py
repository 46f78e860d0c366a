"""A payment provider in memory, behind the shop's own port to one: what is closed is never paid, what is paid is never closed."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from live.infra.db import utc_now
from live.payments.gateway import Closing, Forged, NoGateway, Notice, Payment


@dataclass(slots=True)
class Trade:
    """One order at the provider."""

    fen: int
    expires_at: datetime
    state: str = "NOTPAY"
    transaction_id: str = ""
    paid_at: datetime | None = None


class Cashier(NoGateway):
    """`trades`: by `out_trade_no`. Every answer takes a moment."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.trades: dict[str, Trade] = {}

    async def _moment(self) -> None:
        await asyncio.sleep(self.dice.uniform(0.0, 0.03))

    async def prepay(self, *, out_trade_no: str, fen: int, description: str, payer: str, expires_at: datetime) -> str:
        """Place the order."""
        await self._moment()
        self.trades.setdefault(out_trade_no, Trade(fen, expires_at))
        return out_trade_no

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        """Nobody here forges them."""
        return {"package": prepay_id}

    async def take(self, out_trade_no: str) -> Payment | None:
        """The payer presses the button and types for a while. None: it was closed, or too late, meanwhile."""
        trade = self.trades[out_trade_no]
        if trade.state == "NOTPAY" and utc_now() < trade.expires_at:
            trade.state = "USERPAYING"
            await self._moment()
            trade.state, trade.transaction_id, trade.paid_at = "SUCCESS", secrets.token_hex(8), utc_now()
        return await self.query(out_trade_no) if trade.state == "SUCCESS" else None

    async def query(self, out_trade_no: str) -> Payment:
        """What became of it."""
        await self._moment()
        trade = self.trades.get(out_trade_no)
        if trade is None:
            return Payment("NOT_FOUND")
        if trade.state == "SUCCESS":
            return Payment("SUCCESS", trade.transaction_id, trade.fen, trade.paid_at)
        return Payment("CLOSED" if trade.state == "CLOSED" else "USERPAYING" if trade.state == "USERPAYING" else "NOTPAY")

    async def close(self, out_trade_no: str) -> Closing:
        """No payment can arrive after `closed`."""
        await self._moment()
        trade = self.trades.get(out_trade_no)
        if trade is not None and trade.state in ("SUCCESS", "USERPAYING"):
            return "paid" if trade.state == "SUCCESS" else "paying"
        if trade is not None:
            trade.state = "CLOSED"
        return "closed"

    def open_notice(self, headers: Mapping[str, str], raw: bytes) -> Notice:
        """Notices come by hand, see `Buyer`."""
        raise Forged("no notices by post")
