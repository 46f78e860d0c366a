"""The port to a payment provider: what the shop asks of one, and in which words it answers.

Every call has its own timeout. A provider that does not answer, answers nonsense or cannot be believed is `Refusal(GATEWAY)`; nothing
may be concluded from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, Protocol

from live.protocol.codes import Code, Refusal

PaymentState = Literal["SUCCESS", "NOTPAY", "USERPAYING", "CLOSED", "REFUND", "PAYERROR", "NOT_FOUND"]
Closing = Literal["closed", "paid", "paying"]
RefundStatus = Literal["PROCESSING", "SUCCESS", "CLOSED", "ABNORMAL", "NOT_FOUND"]

# Documents that make no sense: said of the one that was asked for. All else that is no answer is the provider's own trouble.
NONSENSE = frozenset({"unknown trade_state", "no transaction_id", "too large an answer"})


def is_away(refusal: Refusal) -> bool:
    """Whether the provider answers nobody just now, so that asking about others is no use; else it is about the one asked for."""
    return refusal.code is Code.UNAVAILABLE or (refusal.code is Code.GATEWAY and refusal.facts.get("why") not in NONSENSE)


class Forged(Exception):
    """A notice that did not come from the provider, or not now. It changes nothing; the message says which check failed."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What the provider knows of one `out_trade_no`. `fen` is the order's total; 0 when the provider does not say."""

    state: PaymentState
    transaction_id: str | None = None
    fen: int = 0
    paid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefundState:
    """What the provider knows of one `out_refund_no`."""

    state: RefundStatus
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified, fresh and decrypted notice. `resource` is the provider's own document."""

    id: str
    event_type: str  # TRANSACTION.SUCCESS, REFUND.SUCCESS, REFUND.ABNORMAL, REFUND.CLOSED
    resource: dict[str, Any]


class Gateway(Protocol):
    """One merchant at one provider."""

    @property
    def app_id(self) -> str:
        """The app the money is paid in; a notice for another one is not ours."""

    @property
    def merchant(self) -> str:
        """The merchant's number; a notice for another one is not ours."""

    async def prepay(self, *, out_trade_no: str, fen: int, description: str, payer: str, expires_at: datetime) -> str:
        """Place the order at the provider; returns the prepay id. The same arguments may be sent again."""

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        """What the payer's client hands to `wx.requestPayment`, signed by us: without it nobody can pay this prepay id."""

    async def query(self, out_trade_no: str) -> Payment:
        """What became of it."""

    async def close(self, out_trade_no: str) -> Closing:
        """No payment can arrive after `closed`. `paid` is a hint: the caller queries before it believes it."""

    async def refund(self, *, out_trade_no: str, out_refund_no: str, fen: int, total: int, reason: str) -> RefundState:
        """Send money back. The same `out_refund_no` refunds once, however often it is sent."""

    async def query_refund(self, out_refund_no: str) -> RefundState:
        """What became of a refund."""

    def open_notice(self, headers: Mapping[str, str], raw: bytes) -> Notice:
        """Verify, check the age (300 s) and decrypt. `raw` must be the body as it arrived. Raises Forged."""

    async def aclose(self) -> None:
        """Close the connections."""


class NoGateway:
    """Stands in while no provider is configured: the shop runs, paying answers `unavailable`."""

    app_id = ""
    merchant = ""

    async def prepay(self, *, out_trade_no: str, fen: int, description: str, payer: str, expires_at: datetime) -> str:
        """Refused."""
        _unavailable()

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        """Refused."""
        _unavailable()

    async def query(self, out_trade_no: str) -> Payment:
        """Refused."""
        _unavailable()

    async def close(self, out_trade_no: str) -> Closing:
        """Refused."""
        _unavailable()

    async def refund(self, *, out_trade_no: str, out_refund_no: str, fen: int, total: int, reason: str) -> RefundState:
        """Refused."""
        _unavailable()

    async def query_refund(self, out_refund_no: str) -> RefundState:
        """Refused."""
        _unavailable()

    def open_notice(self, headers: Mapping[str, str], raw: bytes) -> Notice:
        """Nobody can send us a true one."""
        raise Forged("no payment provider is configured")

    async def aclose(self) -> None:
        """Nothing to close."""


def _unavailable() -> NoReturn:
    raise Refusal(Code.UNAVAILABLE, why="no payment provider is configured")
