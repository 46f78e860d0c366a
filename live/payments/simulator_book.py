"""What the WeChat simulator knows: orders, refunds and notices, kept in a small SQLite file so that a restart forgets nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from live.payments.wechatpay import CHINA

STATE_TEXT = {
    "SUCCESS": "支付成功", "REFUND": "转入退款", "NOTPAY": "订单未支付", "CLOSED": "订单已关闭", "USERPAYING": "用户支付中",
}  # fmt: skip


@dataclass(slots=True)
class Trade:
    """One order. Times are epoch seconds."""

    out_trade_no: str
    prepay_id: str
    description: str
    openid: str
    fen: int
    notify_url: str
    expires: float
    state: str = "NOTPAY"
    transaction_id: str = ""
    paid: float = 0.0
    refunded: int = 0

    def document(self, app_id: str, merchant: str) -> dict[str, Any]:
        """As a query and a notice show it."""
        shown: dict[str, Any] = {
            "appid": app_id,
            "mchid": merchant,
            "out_trade_no": self.out_trade_no,
            "trade_state": self.state,
            "trade_state_desc": STATE_TEXT[self.state],
            "payer": {"openid": self.openid},
            "amount": {"total": self.fen, "currency": "CNY"},
        }
        if self.transaction_id:
            shown |= {"transaction_id": self.transaction_id, "trade_type": "JSAPI", "bank_type": "OTHERS", "attach": ""}
            shown |= {"success_time": china(self.paid)}
            shown["amount"] |= {"payer_total": self.fen, "payer_currency": "CNY"}
        return shown


@dataclass(slots=True)
class Return:
    """One refund. Times are epoch seconds."""

    out_refund_no: str
    out_trade_no: str
    transaction_id: str
    refund_id: str
    fen: int
    total: int
    notify_url: str
    created: float
    status: str = "PROCESSING"
    done: float = 0.0

    def document(self) -> dict[str, Any]:
        """As an answer shows it."""
        return {
            "refund_id": self.refund_id,
            "out_refund_no": self.out_refund_no,
            "transaction_id": self.transaction_id,
            "out_trade_no": self.out_trade_no,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": china(self.created),
            "status": self.status,
            "amount": {"total": self.total, "refund": self.fen, "payer_total": self.total, "payer_refund": self.fen, "currency": "CNY"},
        } | ({"success_time": china(self.done)} if self.status == "SUCCESS" else {})

    def notice(self, merchant: str) -> dict[str, Any]:
        """As a notice shows it: other names, no currency."""
        shown = self.document() | {"mchid": merchant, "refund_status": self.status}
        amount = {name: value for name, value in shown["amount"].items() if name != "currency"}
        return {name: value for name, value in shown.items() if name not in ("status", "channel", "create_time")} | {"amount": amount}


@dataclass(slots=True)
class Letter:
    """One notice: the same id and document in every repeat."""

    id: str
    url: str
    event: str
    original: str  # transaction, refund
    document: dict[str, Any]
    created: float
    sent: int = 0
    delivered: bool = False


class Book:
    """Everything by its number. `keep` after each change; the file is written without fsync, a demo needs no more."""

    def __init__(self, path: Path | None = None) -> None:
        self.trades: dict[str, Trade] = {}
        self.prepaid: dict[str, Trade] = {}
        self.returns: dict[str, Return] = {}
        self.letters: dict[str, Letter] = {}
        self._file = sqlite3.connect(path if path is not None else ":memory:", isolation_level=None)
        if path is not None:
            path.chmod(0o600)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE IF NOT EXISTS thing (kind TEXT, key TEXT, body BLOB, PRIMARY KEY (kind, key))")
        for kind, body in self._file.execute("SELECT kind, body FROM thing").fetchall():
            self._remember({"Trade": Trade, "Return": Return, "Letter": Letter}[kind](**orjson.loads(body)))

    def keep(self, thing: Trade | Return | Letter) -> None:
        """Write one down."""
        key = self._remember(thing)
        body = orjson.dumps(asdict(thing))
        self._file.execute("INSERT OR REPLACE INTO thing VALUES (?, ?, ?)", (type(thing).__name__, key, body))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _remember(self, thing: Trade | Return | Letter) -> str:
        if isinstance(thing, Trade):
            self.trades[thing.out_trade_no] = self.prepaid[thing.prepay_id] = thing
            return thing.out_trade_no
        if isinstance(thing, Return):
            self.returns[thing.out_refund_no] = thing
            return thing.out_refund_no
        self.letters[thing.id] = thing
        return thing.id


def china(moment: float) -> str:
    """Epoch seconds as WeChat Pay writes time."""
    return datetime.fromtimestamp(moment, CHINA).isoformat(timespec="seconds")
