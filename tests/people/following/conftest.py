"""The whole application's doors, and a worker's tools."""

from __future__ import annotations

from tests.web.conftest import doors
from tests.workers.conftest import given, queue

__all__ = ["doors", "given", "queue"]
