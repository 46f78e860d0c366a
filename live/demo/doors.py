"""The HTTP doors as a client sees them: JSON out, JSON in, a typed refusal, and patience with what may be sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from live.protocol.codes import RETRY

TIMEOUT_SECONDS = 20.0  # a small machine that starts everything at once may take seconds; a person would have given up
CONNECTIONS = 40  # at the same time; more would only queue in the server
KEPT_SECONDS = 3.0  # idle connections; below uvicorn's 5 s, so that we never write into one it is closing
TRIES = 5
LONGEST_WAIT = 5.0  # seconds; a door that asks for more is a refusal to whoever waits


class RefusedError(Exception):
    """A door or the socket said no. `code` and `facts` are those of the wire; `where` names the door."""

    def __init__(self, where: str, code: str, facts: Mapping[str, Any]) -> None:
        shown = ", ".join(f"{name}={value}" for name, value in facts.items() if name not in ("code", "retry"))
        super().__init__(f"{where} was refused: {code}{f' ({shown})' if shown else ''}")
        self.where, self.code, self.facts = where, code, dict(facts)

    @property
    def again(self) -> bool:
        """Whether a client sends it again by itself."""
        return self.code in RETRY

    @property
    def wait(self) -> float:
        """Seconds until then."""
        return max(0.05, float(self.facts.get("wait", 300)) / 1000)


class LateError(Exception):
    """Something that had to come did not come in time. The text is a sentence."""


class Doors:
    """One server's doors over one pool of connections. Cookies are kept, so each member of the staff has doors of their own."""

    def __init__(self, web_url: str) -> None:
        self.web_url = web_url
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEPT_SECONDS)
        # trust_env off: a proxy of the machine has no business between a demo and its own server.
        self._http = httpx2.AsyncClient(base_url=web_url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, *, token: str | None = None) -> Any:
        """GET, as JSON. Raises RefusedError."""
        return await self._call("GET", path, None, token)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> Any:
        """POST a JSON object, as JSON. Raises RefusedError."""
        return await self._call("POST", path, body or {}, token)

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None, token: str | None) -> Any:
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._once(method, path, body, token)
            except RefusedError as no:
                if not no.again or not left or no.wait > LONGEST_WAIT:
                    raise
                await asyncio.sleep(no.wait)
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None, token: str | None) -> Any:
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if body is not None:
            # Browsers send Origin with every unsafe request; the staff's doors insist on it.
            headers |= {"content-type": "application/json", "origin": self.web_url}
        answer = await self._http.request(method, path, headers=headers, content=None if body is None else orjson.dumps(body))
        return read(f"{method} {path}", answer.status_code, answer.content)


def read(where: str, status: int, content: bytes) -> Any:
    """The JSON of an answer. Raises RefusedError for `{"no": …}`, and for an answer that is no JSON (code `http <status>`)."""
    try:
        found = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        raise RefusedError(where, f"http {status}", {"body": content[:120].decode(errors="replace")}) from None
    if status >= 400:
        no = found.get("no") if isinstance(found, dict) else None
        facts = no if isinstance(no, dict) else {"body": str(found)[:120]}
        raise RefusedError(where, str(facts.get("code", f"http {status}")), facts)
    return found
