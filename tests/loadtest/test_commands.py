"""Every load command the README shows can be typed as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest import fanout, impatience, promos, reconnect, reopen, rush

README = Path(__file__).parents[2] / "README.md"
PARSERS = {"fanout": fanout, "reconnect": reconnect, "reopen": reopen, "promos": promos}


def shown() -> list[str]:
    """What follows `python -m loadtest.`; `…` stands for the fan-out, and a flag alone for the command before it."""
    found: list[str] = []
    for words in re.findall(r"`([^`\n]+)`", README.read_text()):
        if words.startswith("python -m loadtest."):
            found.append(words.removeprefix("python -m loadtest."))
        elif words.startswith("… --"):
            found.append(words.replace("…", "fanout", 1))
        elif words.startswith("--how"):
            found.append(f"reconnect {words}")
    return found


@pytest.mark.parametrize("command", [*shown(), "fanout --viewers 10000 --profile single", "fanout", "reconnect", "rush", "reopen"])
def test_a_command_of_the_readme_can_be_typed_as_it_stands(command: str) -> None:
    name, *words = command.split()
    if name == "rush":
        (impatience if any(word.startswith("--buyers") for word in words) else rush).arguments(words)
    else:
        PARSERS[name].arguments(words)


def test_the_commands_are_found() -> None:
    assert {command.split()[0] for command in shown()} == {*PARSERS, "rush"}
