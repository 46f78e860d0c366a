"""Logs and metrics: one event word with fields, one registry a process."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from live.settings import settings


def set_up_logs(process: str) -> None:
    """JSON lines in production, readable ones elsewhere. The process name is bound to every line."""
    level = logging.getLevelNamesMapping().get(settings().log_level.upper(), logging.INFO)
    logging.basicConfig(level=max(level, logging.WARNING), format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
    production = settings().env == "production"
    # Tracebacks in one line of JSON, and without local variables: those hold passwords of databases, and fill screens.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if production else [plain]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if production else "%H:%M:%S"),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    structlog.contextvars.bind_contextvars(process=process)


def metrics() -> tuple[bytes, str]:
    """The registry as Prometheus reads it, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
