"""The command `live`. Each command imports what it runs when it runs, so that `live --help` answers at once."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from live.settings import Settings

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="A livestream commerce server: `live up`, then open the pages it names."
)
owner = typer.Typer(no_args_is_help=True, help="Accounts of shop owners.")
app.add_typer(owner, name="owner")

Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what is in LIVE_HOME first.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (LIVE_HOST).")]
WebPort = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the pages (LIVE_WEB_PORT).")]
HubPort = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the sockets (LIVE_HUB_PORT).")]
Home = Annotated[Path | None, typer.Option(help="Folder for local state (LIVE_HOME).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _changed(**flags: object) -> Settings:
    """The settings of the environment, with the flags that were given."""
    from pydantic import ValidationError

    from live.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        for each in error.errors():
            typer.echo(f"LIVE_{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg']}", err=True)
        raise typer.Exit(1) from None
    return settings.model_copy(update={name: value for name, value in flags.items() if value is not None})


def _leave(run: Callable[[], int | None]) -> None:
    """Run it, turn its result into the exit code, and a failed launch, or a file that cannot be used, into one sentence."""
    from live.launch import LaunchError

    try:
        code = run() or 0
    except LaunchError as error:
        typer.echo(f"live: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # of a socket, say: a fault of ours
        typer.echo(f"live: {error.filename or 'the disk'}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


def _confirm() -> Callable[[str], bool] | None:
    return (lambda question: typer.confirm(question)) if sys.stdin.isatty() else None


def _attached(run: Callable[[], int | None]) -> None:
    """Run it with the servers of the `live up` of this folder, unless the settings name others."""
    from live.launch import attach

    def attached() -> int | None:
        attach(_changed())
        return run()

    _leave(attached)


@app.command()
def up(host: Host = None, web_port: WebPort = None, hub_port: HubPort = None, home: Home = None, fresh: Fresh = False) -> None:
    """Start everything and keep it running. Servers that are not set are started too."""
    import asyncio

    from live import launch
    from live.people.owner import beginning

    async def ready(running: launch.Running) -> None:
        line = await beginning(running.settings.database_url or "", running.settings.web_url)
        if line is not None:
            await running.say(line)

    settings = _changed(host=host, web_port=web_port, hub_port=hub_port, home=home)
    _leave(lambda: asyncio.run(launch.up(settings, fresh=fresh, confirm=_confirm(), on_ready=ready)))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run one scripted show, check the books, and end.")] = False,
    viewers: Annotated[int | None, typer.Option(min=0, help="Simulated viewers: 60, or 200 with --once.")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, help="End after this long.")] = None,
    fresh: Fresh = False,
) -> None:
    """Start everything with a shop, a show and a crowd, to look at or (--once) to check."""
    from live.demo import show

    _leave(lambda: show.run(once=once, viewers=viewers, fresh=fresh, seconds=seconds))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""

    from live.launch import attach, reach

    def run() -> None:
        given = _changed()
        if given.database_url is None:
            attach(given)

        from live.migrations.upgrade import upgrade

        database_url = _changed().database_url or ""
        asyncio.run(reach(None, database_url))
        upgrade(database_url)

    _leave(run)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine and these settings; say what to do about what is wrong."""
    from live import doctor as checks

    _leave(lambda: checks.main(_changed(), as_json=as_json))


@app.command()
def audit(
    as_json: AsJson = False,
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every movement, sealed, to a file.", dir_okay=False)] = None,
    verify: Annotated[Path | None, typer.Option(metavar="FILE", help="Check such a file: no server.", exists=True, dir_okay=False)] = None,
) -> None:
    """Check that every offer's units add up, in SQL and in Redis, and that nobody changed the books."""

    if verify is not None:
        from live.offers.report import check_file

        raise typer.Exit(check_file(verify, as_json))

    def run() -> int:
        from live.offers import report

        return report.main(as_json) if export is None else report.write_file(export, as_json)

    _attached(run)


@app.command("import")
def import_catalog(path: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)]) -> None:
    """Read products, prices and stock from a CSV file."""

    def run() -> int:
        from live.stock.importer import main as read

        return read(path)

    _attached(run)


@app.command("check-draw")
def check_draw(
    path: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    commitment: Annotated[str, typer.Option(help="What was published when the draw opened.")] = "",
) -> None:
    """Work a draw's winners out again from its proof (/v1/draws/ID/proof, saved to a file); exit code 1 when it does not hold."""
    import json

    from live.promotions.draw.rules import proof_fault

    try:
        fault = proof_fault(json.loads(path.read_text(encoding="utf-8")), commitment)
    except ValueError:
        fault = "not JSON"
    typer.echo(fault or "it holds: seed and tickets give these winners")
    raise typer.Exit(1 if fault else 0)


@owner.command("add")
def owner_add(name: Annotated[str, typer.Argument(help="Login name of the new owner.")]) -> None:
    """Make an owner account."""

    def run() -> int:
        from live.people.owner import main as add

        return add(name)

    _attached(run)


@app.command()
def web() -> None:
    """The pages and the HTTP API (one process of `live up`)."""
    from live.web.serve import serve

    serve()


@app.command()
def hub() -> None:
    """The sockets (one process of `live up`)."""
    from live.hub.server import main as run_hub

    run_hub()


@app.command()
def ledger() -> None:
    """Books what was bought (one process of `live up`)."""
    import runpy

    # By name: the layers forbid live to import workers.
    runpy.run_module("workers.ledger", run_name="__main__")


def main() -> None:
    """Entry of the script `live`."""
    app()


if __name__ == "__main__":
    main()
