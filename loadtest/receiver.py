"""`python -m loadtest.receiver`: one process of a crowd. Commands and answers are lines of JSON on stdin and stdout; see `crowd.py`.

A plain epoll loop, as light as can be, for it must never be what limits the hub. What a read does is looked up by its bytes
(`held.py`), and receipts are counted per frame and turn of the loop. The clock is `time.monotonic`, on Linux the same in every process.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import random
import resource
import select
import signal
import socket
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import orjson

from loadtest.held import CLOSE, SHARED, TEXT, Frame, Held, Shelf, Step, cut, follow, snapshot
from loadtest.tally import Tally
from loadtest.viewer import CONNECTING, GREETING, IDLE, LIVE, SECURING, UPGRADING, Viewer, masked, own_gaps, upgrade, upgraded

SIZE = 64 * 1024  # of one read: a tick of 400 comments fits
BATCH = 256  # sockets per turn, under a millisecond of work: the moment of a receipt is that of its turn
FEW, NAP = 64, 0.0005  # after a turn with fewer sockets a short rest: waking for each write would cost the hub more than it costs us
WINDOW = 200  # handshakes under way together, far below a listen queue
GREETED = 8.0  # seconds to open and be greeted, else another try; as static/sdk/live.js
STDIN = 0
READY = select.EPOLLIN | select.EPOLLET  # once per arrival: else each is looked at a second time, only to find that nothing is left
NOTHING = Step(None, (), 0, 0, 0)
GROUPS = ("crowd", "aside")


class Receiver:
    """Some thousand viewers. `rate`: new connections a second; `ping`: seconds between pings of a viewer, 0: none."""

    def __init__(self) -> None:
        self.host, self.port, self.path, self.room, self.rate, self.ping = "127.0.0.1", 0, "/ws", "", 500.0, 25.0
        self.tls: ssl.SSLContext | None = None
        self.epoll = select.epoll()
        self.all: list[Viewer] = []
        self.viewers: dict[int, Viewer] = {}  # by descriptor, those with a socket
        self.to_open: deque[Viewer] = deque()
        self.opening = self.connected = self.lost = 0  # handshakes under way; greeted now; ever lost
        self.allowed, self.allowed_at = 0.0, time.monotonic()
        self.timers: list[tuple[float, int, Callable[[Viewer], None], Viewer]] = []
        self.serial = itertools.count()
        self.shelf = Shelf()
        self.groups: dict[str, list[Step]] = {name: [] for name in GROUPS}
        self.tallies = {name: Tally() for name in GROUPS}
        self.frames, self.first, self.last = 0, 0.0, 0.0  # since the last mark: frames, and when they came
        self.counts: Counter[str] = Counter()  # hellos by source, refusals, byes, own events and their gaps
        self.returns: list[tuple[int, float, float, str, int]] = []
        self.returning = self.leaving = False
        self.commands = b""
        self.read: Callable[[int, int], bytes] = os.read

    # the loop

    def run(self) -> None:
        """Until told to leave, or nobody is there to tell."""
        self.epoll.register(STDIN, select.EPOLLIN)
        while not self.leaving:
            now = time.monotonic()
            wait = min(self.timers[0][0] - now, 0.05) if self.timers else 0.05
            ready = self.epoll.poll(0.002 if self.to_open else max(0.0, wait), BATCH)
            now = time.monotonic()
            self._read(ready)
            self._count(now)
            self._due(now)
            if self.to_open:
                self._open_some(now)
            if 0 < len(ready) < FEW:
                time.sleep(NAP)

    def _read(self, ready: list[tuple[int, int]]) -> None:
        viewers, read = self.viewers, self.read
        last_held: Held | None = None
        last, last_step = b"", NOTHING
        for fd, _ in ready:
            viewer = viewers.get(fd)
            if viewer is None:
                self._listen(fd)
                continue
            held = viewer.held
            if held is None:
                self._enter(viewer)
                continue
            try:
                data = read(fd, SIZE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if viewer.rest:
                self._take(viewer, held, viewer.rest + data)
                continue
            if held is not last_held or data != last:  # most read what the one before read: comparing is cheaper than hashing
                step = held.steps.get(data)
                if step is None:
                    self._take(viewer, held, data)
                    continue
                last_held, last, last_step = held, data, step
            step = last_step
            if step.to is not None:
                viewer.held = step.to
            viewer.got.append(step)

    def _read_tls(self, fd: int, size: int) -> bytes:
        return self.viewers[fd].read_tls(size)

    def _count(self, now: float) -> None:
        for name, got in self.groups.items():
            if got:
                tally = self.tallies[name]
                before = tally.frames
                for step, n in Counter(got).items():
                    tally.count(step, n, now)
                got.clear()
                self.frames, self.first, self.last = self.frames + tally.frames - before, self.first or now, now

    def _due(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now:
            _, _, act, viewer = heapq.heappop(self.timers)
            act(viewer)

    def _later(self, seconds: float, act: Callable[[Viewer], None], viewer: Viewer) -> None:
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.serial), act, viewer))

    # what came

    def _take(self, viewer: Viewer, held: Held, data: bytes) -> None:
        """Bytes this viewer's `held` has not met yet; nothing new at all means that the socket is gone."""
        if data == viewer.rest:
            self._gone(viewer)
            return
        if len(data) >= SIZE:
            self._watch(viewer)  # more may lie there, which is no arrival
        frames, shared, at, closed = list[Frame](), list[bytes](), 0, False
        while not closed and (found := cut(data, at)) is not None:
            head, payload, end = found
            if head == TEXT and payload.startswith(SHARED):
                frames.append(self.shelf.frame(payload))
                shared.append(data[at:end])
            elif head == TEXT:
                self._personal(viewer, held, payload)
            else:
                closed = head == CLOSE
            at = end
        viewer.rest = data[at:]
        if frames:
            # Under the shared bytes alone: whoever reads the same with something personal in it must come here too.
            step = self.shelf.step(held, b"".join(shared), frames)
            viewer.held = step.to or held
            viewer.got.append(step)
        if closed:
            self._gone(viewer)

    def _personal(self, viewer: Viewer, held: Held, payload: bytes) -> None:
        if payload.startswith(b'{"id":'):
            self.counts["answer"] += 1  # of a ping: nothing else is asked
            return
        body = orjson.loads(payload)
        if "own" in body:
            viewer.own, gaps = own_gaps(max(viewer.own, held.own), body["own"])
            self.counts["own"] += len(body["own"])
            self.counts["own gap"] += gaps
        elif "bye" in body:
            viewer.bye = body["bye"]
            self.counts[f"bye {body['bye']['code']}"] += 1
        else:
            self.counts["strange"] += 1

    def _gone(self, viewer: Viewer) -> None:
        """The socket is lost; its viewer comes back when told to, as pages do."""
        self._drop(viewer)
        self.connected -= 1
        self.lost += 1
        viewer.lost_at, viewer.tried = time.monotonic(), viewer.tries
        if self.returning:
            self._again(viewer)

    def _drop(self, viewer: Viewer) -> None:
        self.viewers.pop(viewer.fd, None)
        viewer.past = viewer.held or viewer.past
        viewer.close()  # which takes it out of epoll

    # coming

    def _open_some(self, now: float) -> None:
        self.allowed, self.allowed_at = min(WINDOW, self.allowed + (now - self.allowed_at) * self.rate), now
        while self.to_open and self.allowed >= 1 and self.opening < WINDOW:
            self.allowed -= 1
            self._connect(self.to_open.popleft())

    def _connect(self, viewer: Viewer) -> None:
        viewer.tries += 1
        self.opening += 1
        try:
            fd = viewer.connect(self.host, self.port)
        except OSError as error:
            self._failed(viewer, error.strerror or type(error).__name__)
            return
        self.viewers[fd] = viewer
        self.epoll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        tries = viewer.tries

        def late(viewer: Viewer) -> None:
            if viewer.tries == tries and IDLE < viewer.stage < LIVE:
                self._failed(viewer, "late")

        self._later(GREETED, late, viewer)

    def _failed(self, viewer: Viewer, why: str, wait: float = 0.0) -> None:
        """This try is over. Newcomers wait as long as the hub says; those who come back cannot read that, as pages cannot."""
        self.counts[f"refused: {why}"] += 1
        self.opening -= 1
        self._drop(viewer)
        if viewer.past is None:
            self._later(wait or random.uniform(0.2, 1.0), self.to_open.append, viewer)
        else:
            self._again(viewer)

    def _again(self, viewer: Viewer) -> None:
        seconds = viewer.away()
        if seconds is not None:
            self._later(seconds, self._connect, viewer)

    def _enter(self, viewer: Viewer) -> None:
        """Something happened on a socket that is not greeted yet."""
        try:
            if viewer.stage <= SECURING:
                self._opened(viewer)
                return
            data = self.read(viewer.fd, SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self._failed(viewer, error.strerror or type(error).__name__)
            return
        viewer.rest += data
        if not data:
            self._failed(viewer, "closed")
        elif viewer.stage == UPGRADING:
            self._upgraded(viewer)
        else:
            self._greeted(viewer)

    def _opened(self, viewer: Viewer) -> None:
        sock = viewer.sock
        if sock is None:
            return
        if viewer.stage == CONNECTING:
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error))
            self.epoll.modify(viewer.fd, select.EPOLLIN)
            viewer.stage = SECURING
            if self.tls is not None:
                sock = viewer.sock = self.tls.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        viewer.stage = UPGRADING
        viewer.say(upgrade(self.host, self.port, self.path))

    def _upgraded(self, viewer: Viewer) -> None:
        head, found, rest = viewer.rest.partition(b"\r\n\r\n")
        if not found:
            return
        good, wait = upgraded(head)
        if not good:
            self._failed(viewer, head.split(b"\r\n", 1)[0].decode(errors="replace"), wait)
            return
        viewer.stage, viewer.rest = GREETING, rest
        viewer.say(viewer.hello(self.room))

    def _greeted(self, viewer: Viewer) -> None:
        found = cut(viewer.rest)
        if found is None:
            return
        body = orjson.loads(found[1]) if found[0] == TEXT else {}
        if "ok" not in body:
            self._failed(viewer, (body.get("no") or {"code": "no hello"})["code"])
            return
        ok, rest = body["ok"], viewer.rest[found[2] :]
        self._welcome(viewer, ok)
        held = viewer.held = self.shelf.only(snapshot(ok))
        viewer.stage, viewer.rest, viewer.failures = LIVE, b"", 0
        viewer.spread = (ok["rej"][0] / 1000, ok["rej"][1] / 1000)
        self._watch(viewer)
        self.opening -= 1
        self.connected += 1
        if self.ping:
            self._later(random.uniform(0, self.ping), self._ping(viewer.tries), viewer)
        if rest:
            self._take(viewer, held, rest)

    def _watch(self, viewer: Viewer) -> None:
        """Hear of what lies there now and of each arrival; of what TLS keeps epoll knows nothing, and must tell again."""
        self.epoll.modify(viewer.fd, READY if self.tls is None else select.EPOLLIN)

    def _welcome(self, viewer: Viewer, ok: dict[str, Any]) -> None:
        """Count what the hub answered to a position: what was missed, or a snapshot instead."""
        past, source = viewer.past, "none"
        if past is not None:
            source = "replay" if ok["rec"] else "snapshot"
            tally = self.tallies["aside" if viewer.got is self.groups["aside"] else "crowd"]
            if ok["rec"]:
                missed = [entry[0] for entry in ok.get("ev", ())]
                _, lost, repeated = follow(past.seq, missed, ok["s"])
                tally.lost, tally.repeated = tally.lost + lost, tally.repeated + repeated
                self.counts["replayed"] += len(missed)
            if ok.get("own") is None:
                self.counts["own unknown"] += 1
            else:
                self.counts["own"] += len(ok["own"])
                self.counts["own gap"] += own_gaps(max(viewer.own, past.own), ok["own"])[1]
            self.returns.append((viewer.number, viewer.lost_at, time.monotonic(), source, viewer.tries - viewer.tried))
        viewer.own = ok["p"]
        self.counts[f"hello {source}"] += 1

    def _ping(self, tries: int) -> Callable[[Viewer], None]:
        """The next ping of a socket, unless its viewer has another by then."""

        def act(viewer: Viewer) -> None:
            if viewer.tries == tries and viewer.stage == LIVE:
                viewer.say(masked(b'{"id":1,"t":"ping","d":{"at":%d}}' % int(time.time() * 1000)))
                self._later(self.ping, act, viewer)

        return act

    # commands

    def _listen(self, fd: int) -> None:
        if fd != STDIN:
            return  # closed earlier in this turn
        data = os.read(STDIN, 1 << 20)
        if not data:
            self.leaving = True
        *lines, self.commands = (self.commands + data).split(b"\n")
        for line in lines:
            command = orjson.loads(line)
            answer = getattr(self, f"do_{command.pop('do')}")(**command)
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()

    def do_begin(self, *, host: str, port: int, path: str, room: str, rate: float, ping: float, ca: str) -> dict[str, Any]:
        """Where to go. `ca`: file with the certificate to trust, and then TLS is spoken."""
        self.host, self.port, self.path, self.room, self.rate, self.ping = host, port, path, room, rate, ping
        if ca:
            self.tls = ssl.create_default_context(cafile=ca)
            self.read = self._read_tls
        return {}

    def do_open(self, *, tokens: list[str], first: int, sources: list[str]) -> dict[str, Any]:
        """More viewers, numbered from `first`; `sources`: the address of each, in turn."""
        new = [Viewer(first + n, token, sources[n % len(sources)], self.groups["crowd"]) for n, token in enumerate(tokens)]
        self.all += new
        self.to_open += new
        self.allowed_at = time.monotonic()
        return {}

    def do_status(self) -> dict[str, Any]:
        """Cheap; may be asked often."""
        facts = {"connected": self.connected, "lost": self.lost, "frames": self.frames, "first": self.first, "last": self.last}
        return facts | {"counts": self.counts, "cpu": time.process_time()}

    def do_mark(self) -> dict[str, Any]:
        """Count frames and their time from here."""
        self.frames, self.first, self.last = 0, 0.0, 0.0
        return {}

    def do_take(self) -> dict[str, Any]:
        """Everything counted since the last take."""
        tallies, self.tallies = self.tallies, {name: Tally() for name in GROUPS}
        returns, self.returns = self.returns, []
        return {"groups": {name: tally.as_json() for name, tally in tallies.items()}, "items": self.shelf.tell(), "returns": returns}

    def do_aside(self, *, count: int) -> dict[str, Any]:
        """Count `count` of the viewers apart from here on; they are those that can be stalled."""
        for viewer in self.all[:count]:
            viewer.got = self.groups["aside"]
        return {}

    def do_stall(self, *, seconds: float) -> dict[str, Any]:
        """Those who were set aside stop reading for a while."""
        for viewer in self.all:
            if viewer.got is self.groups["aside"] and viewer.stage == LIVE:
                self.epoll.unregister(viewer.fd)
                self._later(seconds, self._wake(viewer.tries), viewer)
        return {}

    def _wake(self, tries: int) -> Callable[[Viewer], None]:
        def act(viewer: Viewer) -> None:
            if viewer.tries == tries and viewer.stage == LIVE:
                self.epoll.register(viewer.fd, select.EPOLLIN)
                self._watch(viewer)

        return act

    def do_returning(self, *, on: bool) -> dict[str, Any]:
        """From here on a lost viewer comes back with its position, or stays away."""
        self.returning = on
        return {}

    def do_behind(self, *, seq: int, state: dict[str, int]) -> dict[str, Any]:
        """Of all viewers that are here: events short of `seq`, and keys short of the version in `state`."""
        events = states = 0
        for held, n in Counter(viewer.held for viewer in self.all if viewer.held is not None).items():
            events += max(0, seq - held.seq) * n
            states += sum(version > held.state.get(key, 0) for key, version in state.items()) * n
        return {"events": events, "states": states}

    def do_ladder(self) -> dict[str, Any]:
        """Of the viewers that are here: the prices announced to each, the seats paid on the bar each holds, and how many these are."""
        held = Counter((viewer.held.falls, viewer.held.paid) for viewer in self.all if viewer.held is not None)
        return {"seen": [(falls, paid, n) for (falls, paid), n in held.items()]}

    def do_leave(self) -> dict[str, Any]:
        """Everybody goes, without a word."""
        self.leaving = True
        return {}


def main() -> None:
    """Serve the program at the other end of stdin."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a descriptor per viewer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started us; when it goes, stdin ends
    gc.disable()  # everything here is freed by reference count; looking for cycles would be pauses of ours in the hub's figures
    os.set_blocking(STDIN, False)
    Receiver().run()


if __name__ == "__main__":
    main()
