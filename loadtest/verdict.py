"""How every load program ends: what was wrong, then its report as the last line, and an exit code that says whether it was good."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx2
import psycopg
from redis.exceptions import RedisError

from loadtest.stage import StageError


def verdict(name: str, measure: Coroutine[Any, Any, dict[str, Any]], faults: Callable[[Mapping[str, Any]], list[str]]) -> int:
    """Run `measure`. 0: good; 1: `faults` of its report found some; 2: it could not be measured; 130: stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the house is ended and its folder deleted
    try:
        import uvloop
    except ImportError:
        runner = asyncio.run
    else:
        runner = uvloop.run
    try:
        report = runner(measure)
    except (StageError, OSError, TimeoutError, httpx2.HTTPError, psycopg.Error, RedisError) as error:
        print(f"{name}: {error or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    wrong = faults(report)
    for fault in wrong:
        print(f"FAULT {fault}", flush=True)
    print(json.dumps(report), flush=True)
    return 1 if wrong else 0
