"""Idempotency keys of the staff's doors: one press of a button acts once, however often its request arrives.

The answer is kept with what was asked, in the transaction that acts: a refusal keeps nothing, and may be mended and sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from live.infra.security import Identity
from live.protocol.codes import Code, Refusal

HEADER = "idempotency-key"  # as the IETF's draft names it
KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")  # as the buy command takes it

Answer = dict[str, Any]


async def once(
    session: AsyncSession, request: Request, who: Identity, form: BaseModel, act: Callable[[], Awaitable[Answer]]
) -> Answer:  # fmt: skip
    """What `act` answers, or answered to the same key of the same person. Without a key it just acts; keys are kept for a day.

    Refusal(KEY_REUSED): the key came with another address or body; (BAD_REQUEST field idempotency-key).
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await act()
    if not KEY.fullmatch(key):
        raise Refusal(Code.BAD_REQUEST, field=HEADER, why="8 to 64 of A-Z a-z 0-9 _ -")
    asked = hashlib.sha256(request.url.path.encode() + b"\n" + form.model_dump_json().encode()).hexdigest()
    about = {"who": who.sub, "key": key}
    if (await session.execute(_TAKE, about | {"asked": asked})).first() is None:  # after whoever took it has ended
        kept = (await session.execute(_KEPT, about)).one()
        if kept.asked != asked:
            raise Refusal(Code.KEY_REUSED)
        return dict(kept.answer)
    answer = await act()
    await session.execute(_ANSWERED, about | {"answer": orjson.dumps(answer).decode()})
    return answer


_TAKE = text("INSERT INTO pressed (who, key, asked) VALUES (:who, :key, :asked) ON CONFLICT DO NOTHING RETURNING key")
_KEPT = text("SELECT asked, answer FROM pressed WHERE who = :who AND key = :key")
_ANSWERED = text("UPDATE pressed SET answer = CAST(:answer AS jsonb) WHERE who = :who AND key = :key")
