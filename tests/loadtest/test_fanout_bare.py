"""The bare loop: whose sockets it takes, what it writes, and that it leaves no half frame."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from loadtest.bare import RefusedError, duplicates, frame, slice_of, sockets_of
from loadtest.held import Frame, cut

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F41 0200007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 20 4 30 10 -1
   2: 0200007F:9C40 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:1F41 0100007F:9C41 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0000000000000000 20 4 30 10 -1
   4: 0100007F:1F41 0300007F:9C40 06 00000000:00000000 00:00000000 00000000     0        0 104 1 0000000000000000 20 4 30 10 -1
   5: 0100007F:1F42 0300007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 105 1 0000000000000000 20 4 30 10 -1
"""


def test_only_viewers_of_the_port_are_taken() -> None:
    assert sockets_of(TABLE, 0x1F41) == {101}


@pytest.mark.parametrize("size", [60, 125, 126, 150, 3000, 70_000])
def test_a_bare_frame_is_as_long_as_the_hubs_and_read_as_one(size: int) -> None:
    made = frame(7, size)
    found = cut(made)
    assert found is not None
    assert (len(found[1]), found[2]) == (size, len(made))
    assert Frame(found[1]).bare


def test_a_frame_that_would_be_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        frame(1, 20)


def test_every_socket_gets_every_frame_whole() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    wanted = b"".join(frame(n, 100_000) for n in range(3, 6))
    got = bytearray()

    def read() -> None:
        while len(got) < len(wanted):
            got.extend(theirs.recv(65_536))

    reader = threading.Thread(target=read)
    reader.start()
    found = [slice_of([ours.fileno()], 1, 100_000, 3)]
    while sum(each["written"] for each in found) < 3:  # a full socket is left out, and counted
        found.append(slice_of([ours.fileno()], 1, 100_000, 3 + int(sum(each["written"] for each in found))))
    reader.join()
    assert bytes(got) == wanted
    assert sum(each["written"] + each["again"] for each in found) == len(found)
    ours.close()
    theirs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd_getfd is Linux")
def test_a_childs_socket_can_be_written_to_from_here() -> None:
    ours, theirs = socket.socketpair()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
    try:
        (copy,) = duplicates(child.pid, [theirs.fileno()])
        os.write(copy, b"hello")
        assert ours.recv(5) == b"hello"
        os.close(copy)
        with pytest.raises(RefusedError, match="does not hand out"):
            duplicates(child.pid, [999])
    finally:
        child.communicate()
        ours.close()
        theirs.close()
