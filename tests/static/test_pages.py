"""What every page and every script of ours must keep to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "static"
LINES = 300  # a longer script is two things
PAGES = sorted([*STATIC.glob("*/index.html"), STATIC / "shared" / "shell.html"])
SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.relative_to(STATIC).parts)


def name(path: Path) -> str:
    """As it is known in the house."""
    return str(path.relative_to(STATIC))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_has_nothing_a_strict_policy_would_block(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", page)
    for tag in re.findall(r"<script\b[^>]*>", page):
        assert "src=" in tag or 'nonce="{{ nonce }}"' in tag, tag


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    addresses = re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z0-9.-]+", path.read_text(encoding="utf-8"))
    assert [one for one in addresses if "www.w3.org" not in one] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_is_short_and_never_writes_markup(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LINES
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML|\beval\(|new Function", source)
