from __future__ import annotations

import orjson
import pytest

from live.protocol.codes import RETRY, STATUS, Close, Code, Refusal


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_has_a_status_and_says_whether_to_come_back(code: Code) -> None:
    refusal = Refusal(code, n=3)
    assert refusal.status in (401, 403, 404, 409, 413, 422, 429, 502, 503)
    assert refusal.body() == {"code": code.value, "retry": code in RETRY, "n": 3}
    assert orjson.loads(orjson.dumps(refusal.body())) == refusal.body()
    assert (str(refusal), code.value) == (code.value, code.name.lower())


def test_status_follows_from_the_kind_of_refusal() -> None:
    assert set(STATUS) <= set(Code)
    assert {code for code in Code if STATUS.get(code, 409) == 409} == {
        Code.SOLD_OUT, Code.SOLD_OUT_PENDING, Code.LIMIT, Code.NOT_STARTED, Code.ENDED, Code.TEAM_FULL, Code.PRICE_CHANGED, Code.KEY_REUSED,
        Code.AGAIN, Code.PENDING, Code.ROOM_CLOSED, Code.STATE, Code.COUPON_NOT_USABLE, Code.NOT_ENOUGH_STOCK, Code.REFUND_OPEN,
        Code.NOT_READY, Code.ON_SALE, Code.NO_WAITLIST, Code.ORDER_LIMIT, Code.TEAM_CLOSED, Code.WATCH_LONGER,
    }  # fmt: skip


def test_what_may_be_sent_again_is_never_an_answer_about_the_goods() -> None:
    assert {Code.FENCED, Code.BUSY, Code.AGAIN, Code.SLOW_DOWN, Code.GATEWAY, Code.UNAVAILABLE} == RETRY
    assert {STATUS.get(code, 409) for code in RETRY} == {409, 429, 502, 503}
    assert STATUS.get(Code.AGAIN, 409) == 409


def test_facts_cannot_stand_for_the_code() -> None:
    with pytest.raises(TypeError):
        Refusal(Code.LIMIT, **{"code": "sold_out"})  # type: ignore[arg-type]


@pytest.mark.parametrize("close", list(Close))
def test_a_close_code_tells_whether_to_come_back(close: Close) -> None:
    comes_back = {Close.DRAIN, Close.SLOW, Close.SILENT, Close.EXPIRED, Close.HELLO_LATE, Close.FLOOD}
    assert (4000 <= close < 4500) is (close in comes_back)
    assert (4500 <= close < 5000) is (close not in comes_back)


def test_codes_are_all_different() -> None:
    assert len({code.value for code in Code}) == len(Code.__members__)
    assert len({int(close) for close in Close}) == len(Close.__members__)
