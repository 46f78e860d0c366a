"""`python -m loadtest.bare --pid P --port N`: writes frames to a hub's own viewer sockets, past the hub, by a loop of `os.write`.

That is the limit a hub in this language is held against. The sockets are the very ones the hub has: the kernel hands out duplicates of
another process's descriptors (pidfd_getfd). Only while the hub itself has nothing to send may a slice be written. Commands and answers are
lines of JSON on stdin and stdout: `{"frames": n, "size": bytes of payload}` → `{"written", "seconds", "cpu", "again", "partial"}`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from websockets.frames import Frame, Opcode

PIDFD_GETFD = 438  # number of the system call, the same on every architecture that has it
ESTABLISHED = "01"  # in /proc/net/tcp
VIEWERS = range(2, 255)  # last number of their addresses, 127.0.0.n; who comes from 127.0.0.1 belongs to the load program itself
FULL_MS = 5_000  # a socket that takes nothing for so long is dead
REFUSED = "the kernel does not hand out the hub's sockets ({why}): run as root or with kernel.yama.ptrace_scope=0, on Linux 5.6 or later"


class RefusedError(RuntimeError):
    """The kernel does not allow it. The text says what to do."""


def sockets_of(table: str, port: int) -> set[int]:
    """Inodes of connections to `port` from the viewers' addresses; `table`: the text of /proc/net/tcp."""
    found = set()
    for line in table.splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        address = int(remote.partition(":")[0], 16)  # of a little-endian machine: the last number is the highest byte
        if state == ESTABLISHED and int(local.partition(":")[2], 16) == port and address & 0xFF == 127 and address >> 24 in VIEWERS:
            found.add(int(rest[5]))
    return found


def theirs(pid: int, port: int) -> list[int]:
    """Descriptors of a process that are viewers' sockets on this port."""
    inodes, found = sockets_of(Path("/proc/net/tcp").read_text(), port), []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed while we look
            name = str(link.readlink())
            if name.startswith("socket:[") and int(name[8:-1]) in inodes:
                found.append(int(link.name))
    return sorted(found)


def duplicates(pid: int, descriptors: list[int]) -> list[int]:
    """Our own descriptors of another process's sockets. Raises RefusedError."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError) as error:
        raise RefusedError(REFUSED.format(why=error)) from None
    found = [int(libc.syscall(PIDFD_GETFD, handle, fd, 0)) for fd in descriptors]
    if -1 in found:
        raise RefusedError(REFUSED.format(why=os.strerror(ctypes.get_errno())))
    os.close(handle)
    return found


def frame(number: int, size: int) -> bytes:
    """A text frame of a room with `size` bytes of payload, which viewers count and ignore. Raises ValueError when it is too short."""
    start = b'{"r":"bare","s":0,"bare":%d,"pad":"' % number
    if size < len(start) + 2:
        raise ValueError(f"a frame has at least {len(start) + 2} bytes")
    return Frame(Opcode.TEXT, start.ljust(size - 2, b"x") + b'"}').serialize(mask=False)


def slice_of(descriptors: list[int], frames: int, size: int, first: int) -> dict[str, float]:
    """Write so many frames to every descriptor, one frame after the other, as a hub does. `seconds`, `cpu`: of the loop."""
    made = [frame(first + n, size) for n in range(frames)]
    write, written, again, partial = os.write, 0, 0, 0
    began, used = time.monotonic(), time.process_time()
    for one in made:
        whole = len(one)
        for fd in descriptors:
            try:
                done = write(fd, one)
            except BlockingIOError:
                again += 1
                continue
            written += 1
            if done != whole:
                partial += 1
                _finish(fd, one[done:])
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    return {"written": written, "seconds": seconds, "cpu": cpu, "again": again, "partial": partial}


def _finish(fd: int, rest: bytes) -> None:
    """Half a frame must not stay: the hub goes on writing behind it."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while rest:
        if not poll.poll(FULL_MS):
            raise TimeoutError("a viewer took half a frame and reads no more")
        rest = rest[os.write(fd, rest) :]


def main() -> int:
    """Serve the program at the other end of stdin. The first line out says how many sockets there are, or why it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bare", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pid", type=int, required=True, help="of the hub")
    parser.add_argument("--port", type=int, required=True, help="of the hub")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started us; when it goes, stdin ends
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        descriptors = duplicates(options.pid, theirs(options.pid, options.port))
    except (RefusedError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    gc.disable()
    print(json.dumps({"sockets": len(descriptors)}), flush=True)
    first = 0
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(slice_of(descriptors, wanted["frames"], wanted["size"], first)), flush=True)
        first += wanted["frames"]
    return 0


if __name__ == "__main__":
    sys.exit(main())
