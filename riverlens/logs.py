"""Logs as text or as JSON lines, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal

import orjson

from riverlens.times import to_rfc3339

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, whatever `extra` gave, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, object] = {
            "at": to_rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        body |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            body["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(body, default=str).decode()
        except TypeError:
            # A file name that is not UTF-8, say: orjson refuses it, and a lost log line helps nobody.
            return json.dumps(body, default=str)


def set_up_logs(level: LogLevel = "info", log_format: LogFormat = "text") -> None:
    """Send the root logger to standard error. Call once, first thing in a role's `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter()
        if log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # aiokafka logs every step of a rebalance, and as errors what we report ourselves or try again.
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
