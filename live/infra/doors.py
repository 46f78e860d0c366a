"""What every noun's doors have in common: a body that holds nothing we do not know, and an answer as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response


class Form(BaseModel):
    """The body of a request; the server refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Form):
    """An empty object: the address says it all."""


def json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer nobody keeps: many hold tokens, and all of them age."""
    return Response(orjson.dumps(body), status, {"cache-control": "no-store", **(headers or {})}, media_type="application/json")
