"""`live owner add NAME`: an owner's account with a one-time password, printed this once. How an empty shop gets its first person."""

from __future__ import annotations

import asyncio

import typer
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import Database
from live.people import rules
from live.people.queries import has_staff
from live.people.staff import actions
from live.people.staff.passwords import one_time_password, passwords
from live.people.tables import Staff
from live.protocol.codes import Code, Refusal
from live.settings import settings


async def add(session: AsyncSession, account: str, password_hash: str) -> Staff:
    """A new owner who must change the password at the first login. Raises Refusal(BAD_REQUEST or STATE)."""
    return await actions.create(session, account=account, name=account, role=rules.OWNER, store=None, password_hash=password_hash)


async def beginning(database_url: str, web_url: str) -> str | None:
    """How to begin, where nobody can log in yet; None in a shop that has its people."""
    db = Database(database_url, pool=1)
    try:
        async with db.begin() as session:
            if await has_staff(session):
                return None
    finally:
        await db.close()
    return f"nobody can log in yet: run `live owner add NAME` beside this, then open {web_url}/hq with the password it prints"


def main(name: str) -> int:
    """Print the account and its password, or one sentence and exit code 1."""
    return asyncio.run(_main(name))


async def _main(name: str) -> int:
    url = settings().database_url
    if not url:
        return _no("No database: run this while `live up` runs here, or set LIVE_DATABASE_URL.")
    password = one_time_password()
    kept = await passwords.hash(password)
    db = Database(url, pool=1)
    try:
        async with db.begin() as session:
            row = await add(session, name, kept)
    except Refusal as refusal:
        if refusal.code is Code.STATE:
            return _no(f"The account {name} exists already.")
        return _no(f"{name} cannot be an account: {refusal.facts['why']}.")
    except ProgrammingError:
        return _no("The database has no tables yet: run `live migrate` first.")
    except OperationalError as error:
        return _no(f"The database does not answer: {error.orig}")
    finally:
        await db.close()
    typer.echo(f"account   {row.account}")
    typer.echo(f"password  {password}   (once: it must be changed at the first login)")
    typer.echo(f"log in at {settings().web_url}/login")
    return 0


def _no(why: str) -> int:
    typer.echo(why, err=True)
    return 1
