"""A worker's tools, as workers' tests have them."""

from __future__ import annotations

from tests.workers.conftest import given, queue

__all__ = ["given", "queue"]
