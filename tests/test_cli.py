"""The command line as its users see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from live.cli import app
from live.settings import settings as read_settings


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home where no `live up` runs."""
    for name in ("LIVE_REDIS_URL", "LIVE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIVE_HOME", str(tmp_path / "home"))
    read_settings.cache_clear()


def test_help_names_every_command() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    for command in ("up", "demo", "migrate", "doctor", "audit", "import", "owner", "web", "hub", "ledger"):
        assert f" {command} " in said


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = "{'sqlalchemy', 'pydantic', 'redis', 'starlette', 'psycopg', 'arq', 'uvicorn'}"
    script = f"import sys; from live.cli import app; sys.exit(', '.join({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stderr.strip() == ""


@pytest.mark.parametrize("arguments", [["audit"], ["migrate"], ["owner", "add", "wang"]])
def test_a_command_that_needs_servers_says_how_to_get_them(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"live: Nothing runs in {tmp_path / 'home'}: start it with `live up`, or set LIVE_REDIS_URL and LIVE_DATABASE_URL.\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_setting_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_WEB_PORT", "eight thousand")
    result = CliRunner().invoke(app, ["up"])
    assert result.exit_code == 1
    assert result.stderr.startswith("LIVE_WEB_PORT: Input should be a valid integer")


@pytest.mark.parametrize("command", [["up"], ["demo"], ["audit", "--verify", "FILE/x"], ["audit", "--verify", "."]])
def test_a_file_that_cannot_be_used_is_a_sentence_and_no_traceback(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("LIVE_HOME", str(file / "home"))
    result = CliRunner().invoke(app, [word.replace("FILE", str(file)) for word in command])
    assert result.exit_code in (1, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output


def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--web-port" in CliRunner().invoke(app, ["up", "--web-port", "99999"]).output
    monkeypatch.setenv("LIVE_HUB_PORT", "99999")
    assert "LIVE_HUB_PORT" in CliRunner().invoke(app, ["up"]).output
