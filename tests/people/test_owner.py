from __future__ import annotations

import re
import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from live.infra.db import Database, utc_now
from live.people import owner
from live.people.staff import actions
from live.settings import Settings


@pytest.fixture
def chosen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The command reads these settings."""
    monkeypatch.setattr(owner, "settings", lambda: settings)
    return settings


async def test_the_first_and_a_second_owner_get_a_password_to_use_once(
    database: Database, chosen: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for account in ("zhou", "wang"):
        assert await owner._main(account) == 0
        printed = capsys.readouterr().out
        password = re.search(r"password +(\S+)", printed)
        assert password is not None
        row = await actions.login(database, account, password[1], utc_now())
        assert (row.role, row.one_time) == ("owner", True)
        assert f"{chosen.web_url}/login" in printed


@pytest.mark.parametrize(("name", "says"), [("zhou", "exists already"), ("a b", "cannot be an account")])
async def test_a_taken_or_impossible_name_is_one_sentence(
    database: Database, chosen: Settings, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    await owner._main("zhou")
    capsys.readouterr()
    assert await owner._main(name) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    async with database.begin() as session:
        assert (await session.execute(text("SELECT count(*) FROM staff"))).scalar_one() == 1


async def test_without_a_database_or_its_tables_it_says_what_to_do(
    database: Database, chosen: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = f"bare_{uuid.uuid4().hex}"
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text(f"CREATE DATABASE {bare}"))
    empty = make_url(chosen.database_url or "").set(database=bare).render_as_string(hide_password=False)
    for given, says in (
        (chosen.model_copy(update={"database_url": None}), "LIVE_DATABASE_URL"),
        (chosen.model_copy(update={"database_url": "postgresql+psycopg://postgres@127.0.0.1:1/none"}), "does not answer"),
        (chosen.model_copy(update={"database_url": empty}), "live migrate"),
    ):
        monkeypatch.setattr(owner, "settings", lambda given=given: given)
        assert await owner._main("zhou") == 1
        assert says in capsys.readouterr().err


def test_the_command_ends_with_an_exit_code(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "settings", lambda: chosen.model_copy(update={"database_url": None}))
    assert owner.main("zhou") == 1


async def test_a_shop_says_how_to_begin_until_somebody_can_log_in(database: Database, chosen: Settings) -> None:
    assert chosen.database_url is not None
    line = await owner.beginning(chosen.database_url, chosen.web_url)
    assert line is not None
    assert "live owner add" in line
    assert f"{chosen.web_url}/hq" in line
    await owner._main("zhou")
    assert await owner.beginning(chosen.database_url, chosen.web_url) is None
