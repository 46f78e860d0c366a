"""A house to storm: `live up` in a temporary folder, and a shop set up in it through the doors that owners use.

Nothing is written past the doors. Only the secret that signs tokens is ours, since the load program gives it to the house: it lets
thousands of buyers in without thousands of logins, which are not what is measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import jwt

READY_SECONDS = 90.0  # a first start makes a database and imports everything in four processes, maybe on a loaded machine
STOP_SECONDS = 40.0  # what `live up` gives its programs and servers, in sum
TOKEN_SECONDS = 3600  # longer than any storm
STORE, SKU, PRICE = "S1", "STORM", 9900  # fen
COLUMNS = "category,category_zh,category_en,product,product_zh,product_en,sku,sku_zh,sku_en,price,picture"


class StageError(RuntimeError):
    """The house cannot be used. The text says what was seen."""


@dataclass(frozen=True)
class House:
    """A running house. `env`: what its processes run with; `durability`: fsync, synchronous_commit and appendfsync as they are.

    `database_url` is for looking at the books, and for books that are prepared faster than a shop would make them.
    """

    pid: int
    env: Mapping[str, str]
    web_url: str
    hub_url: str
    redis_url: str
    token_secret: str
    durability: Mapping[str, str]
    database_url: str = ""

    def token(self, person: int) -> str:
        """A socket token of the person `p:<person>`, who has no row: neither turnstile nor till looks at rows of people."""
        now = int(time.time())
        claims = {"sub": f"p:{person}", "role": "viewer", "name": f"P{person}", "version": 1, "aud": "socket"}
        return jwt.encode(claims | {"iat": now, "since": now, "exp": now + TOKEN_SECONDS}, self.token_secret, algorithm="HS256")

    async def audit(self) -> dict[str, Any]:
        """What `live audit --json` prints. Raises StageError when it prints nothing of the kind."""
        output = await _run(self.env, "audit", "--json", may_fail=True)
        try:
            return dict(json.loads(output.strip().rpartition("\n")[2]))
        except ValueError:
            raise StageError(f"live audit said: {output[-500:]}") from None


@asynccontextmanager
async def house(raised: Mapping[str, str]) -> AsyncIterator[House]:
    """Start `live up` with the settings `raised` on top of the defaults, end it and delete its folder afterwards. Raises StageError."""
    folder = Path(tempfile.mkdtemp(prefix="live-load-"))
    log = folder / "up.log"
    web, hub = free_port(), free_port()
    secret = secrets.token_urlsafe(32)
    # A setting of the user's own shop must neither change the measurement nor lead the load there.
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
    env |= {"LIVE_HOME": str(folder / "home"), "LIVE_WEB_PORT": str(web), "LIVE_HUB_PORT": str(hub), "LIVE_TOKEN_SECRET": secret, **raised}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "live.cli", "up"), env=env, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=ends_with_us, start_new_session=True,
        )  # fmt: skip
    try:
        found = House(process.pid, env, f"http://127.0.0.1:{web}", f"ws://127.0.0.1:{hub}/ws", "", secret, {})
        durability = await _ready(found, process, log)
        servers = json.loads((folder / "home" / "servers.json").read_text("utf-8"))["settings"]
        yield replace(found, redis_url=servers["redis_url"], database_url=servers["database_url"], durability=durability)
    finally:
        await _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def ends_with_us() -> None:
    """In the child: SIGTERM when this program dies, even by SIGKILL, so that no house is left behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # 1: PR_SET_PDEATHSIG


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


async def _ready(found: House, process: asyncio.subprocess.Process, log: Path) -> dict[str, str]:
    """Wait until web says that everything is there and the hub answers; returns how durable a commit is."""
    deadline = time.monotonic() + READY_SECONDS
    hub = found.hub_url.replace("ws", "http", 1).removesuffix("/ws")
    async with httpx2.AsyncClient(timeout=5.0) as client:
        while time.monotonic() < deadline and process.returncode is None:
            try:
                answer = await client.get(f"{found.web_url}/readyz")
                if answer.status_code == 200 and (await client.get(f"{hub}/healthz")).status_code == 200:
                    said = answer.json()
                    return {name: str(said[name]) for name in ("fsync", "synchronous_commit", "appendfsync")}
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.1)
    raise StageError(f"live up is not ready (it ended with {process.returncode}). The end of its log:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:])


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()  # its children follow: the kernel ties them to it
            await process.wait()


async def _run(env: Mapping[str, str], *words: str, may_fail: bool = False) -> str:
    """The output of a `live` command in this house. Raises StageError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "live.cli", *words), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode != 0 and not may_fail:
        raise StageError(f"live {' '.join(words)} ended with {process.returncode}: {output[-500:]}")
    return output


@dataclass(frozen=True)
class Owner:
    """The owner of the house at the doors of the web process."""

    client: httpx2.AsyncClient

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body. Raises StageError on a refusal."""
        answer = await self.client.post(path, json=body)
        if answer.status_code >= 400:
            raise StageError(f"POST {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())


@asynccontextmanager
async def owner(found: House) -> AsyncIterator[Owner]:
    """A new owner, logged in and with a password of their own. Raises StageError."""
    said = await _run(found.env, "owner", "add", "storm")
    once = next((line.split()[1] for line in said.splitlines() if line.startswith("password")), "")
    chosen = secrets.token_urlsafe(16)
    async with httpx2.AsyncClient(base_url=found.web_url, headers={"origin": found.web_url}, timeout=30.0) as client:
        boss = Owner(client)
        await boss.post("/v1/staff/login", {"account": "storm", "password": once})
        await boss.post("/v1/staff/password", {"old": once, "new": chosen})
        yield boss


async def open_sale(boss: Owner, room: str, stock: int, per_person: int) -> int:
    """A store with `stock` units of one SKU, a live room, and a sale of all of them. Returns the offer's id. Raises StageError."""
    await boss.post("/v1/stores", {"code": STORE, "name_zh": "一店", "name_en": "One"})
    row = f"tea,茶,Tea,storm,风暴,Storm,{SKU},盒,Box,{PRICE / 100:.2f},,{stock}"
    await boss.post("/v1/import", {"csv": f"{COLUMNS},stock:{STORE}\n{row}\n"})
    await boss.post("/v1/rooms", {"id": room, "title_zh": "风暴", "title_en": "Storm"})
    await boss.post(f"/v1/rooms/{room}/start", {})
    sale = {"sku": SKU, "fen": PRICE, "per_person": per_person, "stock": {STORE: stock}}
    return int((await boss.post(f"/v1/rooms/{room}/sales", sale))["offer"])
