"""The catalogues: equal keys, a text for every refusal, and no key used that has none."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from live.orders.tables import STATES
from live.protocol.codes import Code

STATIC = Path(__file__).resolve().parents[2] / "static"
OWN_CODES = {"offline"}  # said by the page itself when there is no answer at all
STAFF = {"console", "store", "hq", "login"}  # their pages load staff.<lang>.json as well
SLOT = re.compile(r"\{(\w+)")
USED = re.compile(r"\bt\(\s*\"([^\"]+)\"")
SHAPED = re.compile(r"\bt\(\s*`([^`]+)`")  # t(`order.${state}`)
TERNARY = re.compile(r"\bt\([^()\"`]*(?:\([^()]*\)[^()\"`]*)*\?\s*\"([a-z_.]+)\"\s*:\s*\"([a-z_.]+)\"")


def catalogue(name: str) -> dict[str, str]:
    """One file; {} when a colleague's has not been written."""
    path = STATIC / "i18n" / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def scripts() -> list[Path]:
    """Every script of ours."""
    return sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.relative_to(STATIC).parts)


def keys(path: Path) -> set[str]:
    """Keys that a script of this folder finds at run time: staff.<lang> lies over <lang>."""
    known = set(catalogue("zh"))
    folder = path.relative_to(STATIC).parts[0]
    return known | set(catalogue("staff.zh")) if folder in STAFF or folder == "shared" else known


@pytest.mark.parametrize("prefix", ["", "staff."])
def test_both_languages_have_the_same_keys_and_the_same_slots(prefix: str) -> None:
    zh, en = catalogue(f"{prefix}zh"), catalogue(f"{prefix}en")
    assert set(zh) == set(en)
    assert all(text.strip() for text in [*zh.values(), *en.values()])
    for key in zh:
        assert set(SLOT.findall(zh[key])) == set(SLOT.findall(en[key])), key


@pytest.mark.parametrize("name", ["zh", "en", "staff.zh", "staff.en"])
def test_no_key_stands_twice(name: str) -> None:
    pairs = json.loads((STATIC / "i18n" / f"{name}.json").read_text(encoding="utf-8"), object_pairs_hook=list)
    assert [key for key, times in Counter(key for key, _ in pairs).items() if times > 1] == []  # the last one would hide the first


def test_no_key_stands_in_both_the_public_and_the_staff_catalogue() -> None:
    assert not set(catalogue("zh")) & set(catalogue("staff.zh"))


def test_every_refusal_has_a_text() -> None:
    texts = set(catalogue("zh"))
    assert {f"no.{code.value}" for code in Code} <= texts
    assert {key.removeprefix("no.") for key in texts if key.startswith("no.")} == {code.value for code in Code} | OWN_CODES


def test_every_order_state_has_a_text() -> None:
    assert {f"order.{state}" for state in STATES} <= set(catalogue("zh"))


@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(STATIC)))
def test_every_key_a_script_uses_exists(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    known = keys(path)
    wanted = set(USED.findall(source)) | {key for pair in TERNARY.findall(source) for key in pair}
    assert not {key for key in wanted if key not in known}
    for shape in SHAPED.findall(source):
        pattern = ".*".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", shape))
        assert any(re.fullmatch(pattern, key) for key in known), shape
