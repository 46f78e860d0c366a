"""The state folder (`home`): private folders, files and secrets, and the lock that says who is using it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

SECRET_BYTES = 32  # 256 bits, the size of the HMAC keys made from it


class HeldError(RuntimeError):
    """A living process holds the lock; `pid` is 0 when it could not be read."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path.parent} is in use by process {pid or 'unknown'}.")
        self.pid = pid


def private_folder(path: Path) -> Path:
    """Make the folder (and its parents) if needed; mode 0700 in any case, for the servers inside trust whoever reaches them."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 != 0o700:
        path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, mode 0600, on disk when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # pickup codes are derived from a secret: it must outlive a power cut
    draft.replace(path)


def secret(home: Path, name: str) -> str:
    """The secret `name` of this home, made at first use in `home/secrets/name` (mode 0600) and the same ever after."""
    path = private_folder(home / "secrets") / name
    with suppress(FileNotFoundError):
        if kept := path.read_text(encoding="utf-8").strip():
            return kept
    made = secrets.token_urlsafe(SECRET_BYTES)
    write_private(path, made + "\n")
    return made


async def hold(path: Path, patience: float = 0.0) -> int:
    """Take the lock file; returns its descriptor, to be closed to let go. Raises HeldError.

    A lock whose writer is dead is still held while that writer's children, who inherited it, are ending: wait `patience` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _writer(descriptor)
            if alive(pid) or time.monotonic() >= deadline:
                os.close(descriptor)
                raise HeldError(path, pid) from None
            await asyncio.sleep(0.02)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor


def holder(path: Path) -> int | None:
    """The process that holds the lock file, 0 when unknown, None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _writer(descriptor)
    finally:
        os.close(descriptor)
    return None


def _writer(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie, which a lazy parent may leave for a while."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
    return True
