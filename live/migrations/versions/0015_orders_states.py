"""orders' states

Late money, parts collected or refunded, and completion by time are no states of an order: nothing ever used them.

Revision 0015, after 0014, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

revision: str = "0015"
down_revision: str | Sequence[str] | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NOW = ("AWAIT_PAY", "CLOSING", "CANCELLED", "PAID", "GROUP_WAIT", "ALLOCATED", "READY", "COLLECTED", "REFUNDING", "REFUNDED")
_GONE = ("PART_COLLECTED", "COMPLETED", "LATE_PAID", "PART_REFUNDED")


def upgrade() -> None:
    _allow(_NOW)


def downgrade() -> None:
    _allow(_NOW + _GONE)


def _allow(states: Sequence[str]) -> None:
    op.drop_constraint(op.f("ck_orders_state"), "orders", type_="check")
    listed = "','".join(states)
    op.create_check_constraint(op.f("ck_orders_state"), "orders", f"state IN ('{listed}')")
