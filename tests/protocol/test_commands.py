"""What a client may send. Whatever else comes is a Refusal and nothing but a Refusal: bytes of strangers are parsed here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.protocol import commands
from live.protocol.codes import Code, Refusal
from live.protocol.commands import parse

LINE = {"offer": 1, "qty": 2, "version": 3}
GOOD: dict[str, dict[str, Any]] = {
    "hello": {"v": 1, "token": "t", "room": "r1"},
    "say": {"cid": "12345678", "text": "hi"},
    "like": {"n": 20},
    "buy": {"key": "12345678", "try": 2, "lines": [LINE], "at": ["S1"]},
    "claim": {"key": "12345678", "offer": 1},
    "ask": {"key": "12345678"},
    "refresh": {"token": "t"},
    "ping": {"at": 1},
}


def frame(t: Any, d: Any, **more: Any) -> str:
    return json.dumps({"id": 7, "t": t, "d": d} | more)


def refused(raw: bytes | str) -> tuple[Code, dict[str, Any]]:
    with pytest.raises(Refusal) as found:
        parse(raw)
    return found.value.code, found.value.facts


@pytest.mark.parametrize("t", GOOD)
def test_a_command_is_read_with_everything_in_it(t: str) -> None:
    for raw in (frame(t, GOOD[t]), frame(t, GOOD[t]).encode()):
        command = parse(raw)
        assert (command.id, command.t) == (7, t)
        assert command.d.model_dump(by_alias=True, exclude_unset=True) == GOOD[t]


def test_what_may_be_left_out_has_its_default() -> None:
    assert parse('{"id":1,"t":"ping"}').model_dump() == {"id": 1, "t": "ping", "d": {"at": None}}
    hello = parse(frame("hello", GOOD["hello"] | {"e": None, "s": None, "p": 2**53 - 1}))
    assert hello.d.model_dump() == GOOD["hello"] | {"e": None, "s": None, "p": 2**53 - 1}
    claim = parse(frame("claim", GOOD["claim"]))
    assert isinstance(claim, commands.Claim)
    assert claim.d.tries == 1


@pytest.mark.parametrize("t", GOOD)
def test_an_unknown_field_is_refused_wherever_it_stands(t: str) -> None:
    assert refused(frame(t, GOOD[t] | {"surprise": 1})) == (Code.BAD_REQUEST, {"field": "d.surprise", "why": "extra_forbidden", "id": 7})
    assert refused(frame(t, GOOD[t], surprise=1)) == (Code.BAD_REQUEST, {"field": "surprise", "why": "extra_forbidden", "id": 7})
    assert refused(frame("buy", GOOD["buy"] | {"lines": [LINE | {"fen": 1}]})) == (
        Code.BAD_REQUEST, {"field": "d.lines.0.fen", "why": "extra_forbidden", "id": 7},
    )  # fmt: skip


@pytest.mark.parametrize("t", [name for name in GOOD if name != "ping"])
def test_every_part_that_is_needed_is_asked_for_by_name(t: str) -> None:
    for field in GOOD[t]:
        if field != "try":
            given = {name: value for name, value in GOOD[t].items() if name != field}
            assert refused(frame(t, given)) == (Code.BAD_REQUEST, {"field": f"d.{field}", "why": "missing", "id": 7}), field


@pytest.mark.parametrize(
    ("t", "field", "value"),
    [
        ("hello", "v", 2), ("hello", "v", 0), ("hello", "v", "1"), ("hello", "token", ""), ("hello", "token", "t" * 2049),
        ("hello", "room", "r 1"), ("hello", "room", "{r1}"), ("hello", "room", ""), ("hello", "room", "r" * 33), ("hello", "room", "r1\n"),
        ("hello", "s", -1), ("hello", "s", 2**53), ("hello", "e", "e" * 33),
        ("say", "cid", "short"), ("say", "cid", "c" * 65), ("say", "cid", "12345 78"), ("say", "text", "t" * 1001), ("say", "text", None),
        ("like", "n", 0), ("like", "n", 21), ("like", "n", 1.5), ("like", "n", True), ("like", "n", "3"), ("like", "n", -1),
        ("buy", "key", "1234567"), ("buy", "key", "../../etc"), ("buy", "try", 0), ("buy", "try", 10_001), ("buy", "lines", []),
        ("buy", "lines", [LINE] * 6), ("buy", "lines", [LINE | {"qty": 0}]), ("buy", "lines", [LINE | {"qty": 100}]),
        ("buy", "lines", [LINE | {"qty": -1}]), ("buy", "lines", [LINE | {"offer": -1}]), ("buy", "lines", [LINE | {"offer": 2**53}]),
        ("buy", "lines", [LINE | {"qty": 1e3}]), ("buy", "lines", {"0": LINE}), ("buy", "at", []), ("buy", "at", ["S1"] * 9),
        ("buy", "at", [""]), ("buy", "at", ["S:1"]), ("buy", "at", "S1"), ("claim", "offer", 1.5), ("claim", "offer", None),
        ("ask", "key", 12345678), ("refresh", "token", None), ("ping", "at", -1), ("ping", "at", 2**53),
    ],
)  # fmt: skip
def test_a_value_outside_its_bounds_is_refused_by_its_field(t: str, field: str, value: Any) -> None:
    code, facts = refused(frame(t, GOOD[t] | {field: value}))
    assert (code, facts["id"]) == (Code.BAD_REQUEST, 7)
    assert facts["field"].startswith(f"d.{field}")


@pytest.mark.parametrize("t", ["", "sell", "HELLO", None, 7, ["hello"], {"t": "hello"}])
def test_an_unknown_command_is_refused_with_its_id(t: Any) -> None:
    assert refused(frame(t, {})) == (Code.UNKNOWN, {"field": "t", "id": 7})
    assert refused('{"id": 7, "d": {}}') == (Code.UNKNOWN, {"field": "t", "id": 7})


def test_the_id_is_given_back_whatever_is_wrong_with_the_rest() -> None:
    assert refused('{"id": 7, "t": "like"}') == (Code.BAD_REQUEST, {"field": "d", "why": "missing", "id": 7})
    for wrong in ('{"id": 7, "t": "like", "d": 5}', '{"id": 7, "t": "like", "d": {"n": 0}}', '{"id": 7, "t": "like", "d": {"id": 9}}'):
        assert refused(wrong)[1]["id"] == 7
    assert refused('{"id": 0, "t": "sell"}')[1]["id"] == 0
    for none in (
        '{"id": true, "t": "sell"}',
        '{"id": "7", "t": "sell"}',
        '{"id": -1, "t": "sell"}',
        '{"t": "sell", "d": {"id": 7}}',
        "[7]",
    ):
        assert "id" not in refused(none)[1]


@pytest.mark.parametrize("number", [-1, 2**53, 2**64, 1.5, "7", None, True, [7]])
def test_an_id_that_is_none_is_refused(number: Any) -> None:
    code, facts = refused(json.dumps({"id": number, "t": "ping", "d": {}}))
    assert (code, facts["field"], "id" in facts) == (Code.BAD_REQUEST, "id", False)


NOT_JSON = [
    b"", b" ", b"{", b"{]", b"\x00", b"\xff\xfe", b"hello", b"'a'", b'{"id":7,"t":"ping"', b'{"id":7,"t":"ping"}}', b'{"id":07}', b"NaN{",
    b'{"id":7,"t":"say","d":{"cid":"12345678","text":"\\ud800"}}', b'{"id":7,"t":"say","d":{"cid":"12345678","text":"\xc3"}}',
]  # fmt: skip


@pytest.mark.parametrize("raw", NOT_JSON)
def test_what_is_not_json_says_so(raw: bytes) -> None:
    assert refused(raw) == (Code.BAD_REQUEST, {"why": "not JSON"})


@pytest.mark.parametrize("raw", ["1", "null", '"x"', "[]", "[[[]]]", "{}", "true", '{"id":7}'])
def test_json_that_is_no_command_is_refused(raw: str) -> None:
    assert refused(raw)[0] in (Code.BAD_REQUEST, Code.UNKNOWN)


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 100_000, "[" * 2000 + "]" * 2000, '{"d":' * 2000 + "1" + "}" * 2000, '{"id":7,"t":"say","d":' + "[" * 3000 + "]" * 3000 + "}",
        '{"id":' + "9" * 4000 + ',"t":"ping"}', '{"id":1e400,"t":"ping"}', '{"id":-0,"t":"nothing"}',
        '{"id":7,"t":"like","d":{"n":' + "1" * 4000 + "}}",
        '{"id":7,"id":8,"t":"nothing"}', '{"id":Infinity,"t":"ping"}',
    ],
)  # fmt: skip
def test_deep_nesting_and_huge_numbers_are_refused_like_anything_else(raw: str) -> None:
    assert refused(raw)[0] in (Code.BAD_REQUEST, Code.UNKNOWN)


def only_refusals(raw: bytes | str) -> None:
    """A command, or a Refusal small enough to be said back. Any other exception fails the test by itself."""
    try:
        assert parse(raw).t in GOOD
    except Refusal as refusal:
        found = refusal
    else:
        return
    assert found.code in (Code.BAD_REQUEST, Code.UNKNOWN)
    assert len(json.dumps(found.body())) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "t", "d", "key", "n", "lines"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_a_command(raw: bytes) -> None:
    only_refusals(raw)


@given(st.text(max_size=200))
def test_random_text_is_refused_or_a_command(raw: str) -> None:
    only_refusals(raw)


@given(st.one_of(st.sampled_from(list(GOOD)), JSON), JSON, JSON)
def test_random_frames_are_refused_or_a_command(t: Any, number: Any, data: Any) -> None:
    only_refusals(json.dumps({"id": number, "t": t, "d": data}))


@given(st.sampled_from(list(GOOD)), st.data())
def test_a_good_command_with_one_part_spoilt_is_refused_or_still_good(t: str, data: st.DataObject) -> None:
    spoilt = dict(GOOD[t])
    spoilt[data.draw(st.sampled_from([*spoilt, "x"]))] = data.draw(JSON)
    only_refusals(json.dumps({"id": data.draw(st.one_of(st.just(7), JSON)), "t": t, "d": spoilt}))


@given(st.sampled_from(list(GOOD)), st.integers(0, 200), st.binary(max_size=3))
def test_a_good_frame_cut_or_overwritten_is_refused_or_still_good(t: str, at: int, bytes_: bytes) -> None:
    raw = frame(t, GOOD[t]).encode()
    only_refusals(raw[:at])
    only_refusals(raw[:at] + bytes_ + raw[at + len(bytes_) :])


def test_the_schema_names_every_command_and_forbids_the_rest() -> None:
    schema = commands.schema()
    assert set(schema["discriminator"]["mapping"]) == set(GOOD)
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())
