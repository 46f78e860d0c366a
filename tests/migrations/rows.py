"""One sound row of every table, and the rows a sound database refuses: the CHECKs and keys the promise "nobody oversells" stands on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)

# In the order their foreign keys ask for; a movement before the counter that says it was counted.
SOUND: dict[str, Row] = {
    "location": {"code": "S1", "name_zh": "一店", "name_en": "One", "active": True},
    "category": {"id": 1, "code": "c", "name_zh": "茶", "name_en": "Tea"},
    "product": {"id": 1, "code": "tea", "category_id": 1, "name_zh": "茶", "name_en": "Tea"},
    "sku": {"id": 1, "code": "TEA", "product_id": 1, "name_zh": "盒", "name_en": "Box", "fen": 9900, "active": True},
    "stock": {"sku_id": 1, "location": "S1", "on_hand": 10, "allotted": 10},
    "stock_change": {"id": 1, "sku_id": 1, "location": "S1", "qty": 10, "cause": "import:1"},
    "person": {"id": 1, "openid": "o1", "phone": None, "name": "P1"},
    "staff": {
        "id": 1, "account": "clerk", "name": "C", "role": "clerk", "store": "S1", "password_hash": "-", "one_time": False,
        "disabled": False,
    },
    "room": {"id": "r1", "title_zh": "间", "title_en": "Room", "phase": "live"},
    "offer": {"id": 1, "room_id": "r1", "kind": "sale", "phase": "open", "sku_id": 1, "fen": 5000, "per_person": 2},
    "movement": {"offer_id": 1, "location": "S1", "move_no": 1, "kind": "HOLD", "qty": 10, "rid": "rid1"},
    "allotment": {"offer_id": 1, "location": "S1", "total": 10, "taken": 10, "move_no": 1},
    "movement_seal": {"offer_id": 1, "location": "S1", "from_no": 1, "to_no": 1, "previous": "0", "hash": "1"},
    "quota": {"offer_id": 1, "person": "p:1", "used": 2, "allowed": 2},
    "waitlist_line": {"offer_id": 1, "waiting": 1, "last": 1},
    "waitlist": {
        "id": 1, "offer_id": 1, "room_id": "r1", "person": "p:1", "place": 1, "qty": 1, "at": ["S1"], "fen": 5000, "price_version": 1,
        "state": "WAITING", "since": AT,
    },
    "team": {"id": 1, "offer_id": 1, "size": 4, "held": 2, "paid": 2, "minimum": 2, "state": "filling"},
    "party": {"id": 1, "offer_id": 1, "room_id": "r1", "opener": "p:1", "size": 4, "held": 2, "paid": 2, "state": "filling"},
    "orders": {
        "id": 1, "no": "A1", "rid": "rid1", "intent_id": "1-0", "room_id": "r1", "person": "p:1", "location": "S1", "state": "PAID",
        "fen": 5000, "discount": 500, "refunded": 4500,
    },
    "order_line": {
        "order_no": "A1", "line": 1, "offer_id": 1, "sku_id": 1, "sku": "TEA", "name_zh": "茶", "name_en": "Tea", "qty": 1, "fen": 5000,
        "price_version": 1,
    },
    "coupon_grant": {
        "id": 1, "rid": "rid9", "intent_id": "2-0", "offer_id": 1, "room_id": "r1", "person": "p:1", "off": 500, "threshold": 3000,
        "state": "USED", "order_no": "A1",
    },
    "pay_attempt": {
        "id": 1, "order_no": "A1", "out_trade_no": "A1-1", "fen": 4500, "state": "SUCCEEDED", "winner": True, "transaction_id": "t1",
    },
    "refund": {
        "id": 1, "order_no": "A1", "cause": "buyer", "out_trade_no": "A1-1", "out_refund_no": "A1-buyer", "fen": 4500, "total": 4500,
        "state": "DONE", "provider_id": "w1",
    },
    "ticket": {
        "id": 1, "order_no": "A1", "room_id": "r1", "person": "p:1", "location": "S1", "code_hash": "h1", "state": "COLLECTED",
        "collected_by": 1,
    },
    "outbox": {"id": 1, "kind": "act", "room_id": "r1"},
    "fence": {"room_id": "r1", "fence": 1},
    "drift": {"id": 1, "room_id": "r1", "what": "left", "finding": "left:1:S1"},
}  # fmt: skip

# CHECK -> changes to the sound row that it must refuse, one per side of the rule.
BROKEN: dict[str, list[Row]] = {
    "ck_allotment_taken": [{"taken": 11}, {"taken": -1}, {"total": 9}],
    "ck_coupon_grant_order_no": [{"order_no": None}, {"state": "LOCKED", "order_no": None}, {"state": "CLAIMED"}, {"state": "VOID"}],
    "ck_coupon_grant_state": [{"state": "SPENT", "order_no": None}],
    "ck_location_code": [{"code": "-"}, {"code": ""}, {"code": "S" * 33}, {"code": "一"}, {"code": "S1\n"}],
    "ck_movement_kind": [{"kind": "GIFT"}, {"kind": "hold"}],
    "ck_movement_move_no": [{"move_no": 0}, {"move_no": -1}],
    "ck_movement_seal_range": [{"from_no": 0}, {"from_no": 2}],
    "ck_offer_fen": [{"fen": -1}],
    "ck_offer_kind": [{"kind": "packet"}],
    "ck_offer_per_person": [{"per_person": 0}, {"per_person": -1}],
    "ck_offer_phase": [{"phase": "paused"}],
    "ck_offer_sku": [{"sku_id": None}, {"kind": "coupon"}],
    "ck_order_line_qty": [{"qty": 0}, {"qty": -1}],
    "ck_orders_discount": [{"discount": 5001, "refunded": 0}, {"discount": -1}, {"fen": -1, "discount": 0, "refunded": 0}],
    "ck_orders_refunded": [{"refunded": 4501}, {"refunded": -1}],
    "ck_orders_state": [{"state": "LOST"}, {"state": "paid"}],
    "ck_outbox_kind": [{"kind": "mail"}],
    "ck_pay_attempt_fen": [{"fen": 0}, {"fen": -1}],
    "ck_pay_attempt_state": [{"state": "PAID"}],
    "ck_person_identified": [{"openid": None}],
    "ck_quota_used": [{"used": 3}, {"used": -1}, {"allowed": 1}],
    "ck_refund_fen": [{"fen": 0}, {"fen": -1}],
    "ck_refund_state": [{"state": "PENDING"}],
    "ck_room_id": [{"id": "R1"}, {"id": ""}, {"id": "r" * 33}, {"id": "r{1}"}],
    "ck_room_phase": [{"phase": "paused"}],
    "ck_sku_fen": [{"fen": 0}, {"fen": -1}],
    "ck_staff_clerk_has_store": [{"store": None}],
    "ck_staff_role": [{"role": "admin"}],
    "ck_stock_allotted": [{"allotted": 11}, {"allotted": -1}, {"on_hand": 9}],
    "ck_party_seats": [{"held": 3}, {"paid": 3}, {"held": -1, "paid": 2}, {"paid": -1, "held": 2}, {"size": 3}],
    "ck_party_size": [{"size": 1, "held": 0, "paid": 0}, {"size": 51}],
    "ck_party_state": [{"state": "full"}],
    "ck_party_success": [{"state": "success"}],
    "ck_team_seats": [{"held": 3}, {"paid": 3}, {"held": -1, "paid": 2}, {"paid": -1, "held": 2}, {"size": 3}],
    "ck_team_state": [{"state": "full"}],
    "ck_ticket_state": [{"state": "LOST"}],
    "ck_waitlist_given": [{"state": "GIVEN"}, {"order_no": "A1"}],
    "ck_waitlist_line_waiting": [{"waiting": -1}],
    "ck_waitlist_qty": [{"qty": 0}, {"qty": -1}],
    "ck_waitlist_state": [{"state": "LOST"}, {"state": "waiting"}],
}

# Unique key -> (table, what differs from the sound row; all other keys differ, so only this one can refuse it).
SECOND: dict[str, tuple[str, Row]] = {
    "uq_movement_cause": ("movement", {"move_no": 2}),
    "pk_movement": ("movement", {"rid": "rid2"}),
    "uq_orders_rid": ("orders", {"id": 2, "no": "A2"}),
    "uq_orders_no": ("orders", {"id": 2, "rid": "rid2"}),
    "uq_ticket_order": ("ticket", {"id": 2, "code_hash": "h2"}),
    "uq_ticket_code_hash": ("ticket", {"id": 2, "location": "S2"}),
    "uq_refund_cause": ("refund", {"id": 2, "out_refund_no": "A1-2", "provider_id": "w2"}),
    "uq_refund_out_refund_no": ("refund", {"id": 2, "cause": "ladder", "provider_id": "w2"}),
    "uq_refund_provider_id": ("refund", {"id": 2, "cause": "ladder", "out_refund_no": "A1-2"}),
    "uq_pay_attempt_winner": ("pay_attempt", {"id": 2, "out_trade_no": "A1-2", "transaction_id": "t2"}),
    "uq_pay_attempt_out_trade_no": ("pay_attempt", {"id": 2, "winner": False, "transaction_id": "t2"}),
    "uq_pay_attempt_transaction_id": ("pay_attempt", {"id": 2, "winner": False, "out_trade_no": "A1-2"}),
    "uq_coupon_grant_rid": ("coupon_grant", {"id": 2, "state": "CLAIMED", "order_no": None}),
    "uq_coupon_grant_order_no": ("coupon_grant", {"id": 2, "rid": "rid8"}),
    "uq_stock_change_cause": ("stock_change", {"id": 2, "qty": -1}),
    "uq_team_offer_id": ("team", {"id": 2}),
    "uq_person_openid": ("person", {"id": 2}),
    "uq_person_phone": ("person", {"id": 2, "openid": "o2", "phone": "13800001234"}),
    "uq_staff_account": ("staff", {"id": 2}),
    "uq_category_code": ("category", {"id": 2}),
    "uq_product_code": ("product", {"id": 2}),
    "uq_sku_code": ("sku", {"id": 2}),
    "pk_allotment": ("allotment", {"total": 20}),
    "pk_quota": ("quota", {"used": 0}),
    "pk_movement_seal": ("movement_seal", {"to_no": 2}),
    "uq_drift_open": ("drift", {"id": 2}),
    "uq_waitlist_waiting": ("waitlist", {"id": 2, "place": 2}),
    "uq_waitlist_place": ("waitlist", {"id": 2, "person": "p:2"}),
}

# What the keys must let pass: a rule that refuses these would stop the shop.
ALLOWED: dict[str, tuple[str, Row]] = {
    "the same cause as a release": ("movement", {"move_no": 2, "kind": "RELEASE", "qty": -10}),
    "the same rid on another offer": ("movement", {"offer_id": 2, "location": "S2"}),
    "a second attempt that lost": ("pay_attempt", {"id": 2, "out_trade_no": "A1-2", "winner": False, "transaction_id": "t2"}),
    "two attempts without a transaction": ("pay_attempt", {"id": 2, "out_trade_no": "A1-2", "winner": False, "transaction_id": None}),
    "a second refund for another cause": ("refund", {"id": 2, "cause": "late", "out_refund_no": "A1-late", "provider_id": None}),
    "the same order at a second store": ("ticket", {"id": 2, "location": "S2", "code_hash": "h2"}),
    "a finding that came back after it healed": ("drift", {"id": 2, "healed_at": AT}),
    "somebody in line again": ("waitlist", {"id": 2, "place": 2, "state": "LEFT"}),
    "two things the till refused": ("drift", {"id": 2, "finding": None}),
    "a coupon nobody has used yet": ("coupon_grant", {"id": 2, "rid": "rid8", "state": "CLAIMED", "order_no": None}),
}
