"""`riverlens worker check`."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from riverlens.logs import set_up_logs
from riverlens.settings import load
from riverlens_worker.check.cluster import look_at_kafka
from riverlens_worker.check.facts import Facts, Own
from riverlens_worker.check.finding import Finding, Level, count, exit_code, to_lines
from riverlens_worker.check.findings import judge
from riverlens_worker.check.model_server import look_at_model_servers
from riverlens_worker.check.settings import CheckSettings
from riverlens_worker.settings import WorkerSettings

_COLOURS = {Level.GOOD: "\033[32m", Level.WARNING: "\033[33m", Level.BAD: "\033[31m"}
_PLAIN = "\033[0m"


def main(argv: list[str], prog: str) -> int:
    """Look at everything, print a line for each thing; 1 where anything is bad, else 0."""
    settings = load(CheckSettings, argv, prog=prog)
    # What the worker would log is said in the findings.
    set_up_logs("debug" if settings.log_level == "debug" else "error", settings.log_format)
    logging.getLogger("riverlens_worker").setLevel(logging.NOTSET)
    findings = asyncio.run(check(settings))
    if settings.format == "json":
        sys.stdout.write(_to_json(findings))
    else:
        sys.stdout.write(_to_text(findings, coloured=sys.stdout.isatty()))
    return exit_code(findings)


async def check(settings: CheckSettings) -> list[Finding]:
    """Gather all facts and judge them; whatever is away, the rest is still looked at."""
    kafka, servers = await asyncio.gather(look_at_kafka(settings), look_at_model_servers(settings))
    return judge(Facts(kafka, servers, _look_at_own(settings)), settings)


def _look_at_own(settings: CheckSettings) -> Own:
    path, batching, problem = settings.batching_file or "", "", ""
    if path:
        try:
            batching = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = f"{path} cannot be read: {error}"
    return Own(_admin_problem(settings), path, batching, problem)


def _admin_problem(settings: WorkerSettings) -> str:
    """Why nothing can listen there; "" where it can."""
    family = socket.AF_INET6 if ":" in settings.admin_host else socket.AF_INET
    try:
        with socket.create_server((settings.admin_host, settings.admin_port), family=family):
            return ""
    except OSError as error:
        return f"nothing can listen there: {error.strerror or error}"


def _to_json(findings: Sequence[Finding]) -> str:
    body = {
        "findings": [finding.as_dict() for finding in findings],
        "count": {level.value: count(level, findings) for level in Level},
    }
    return json.dumps(body, indent=2) + "\n"


def _to_text(findings: Sequence[Finding], *, coloured: bool) -> str:
    lines = to_lines(findings)
    if coloured:
        # The word stays: not everybody sees the colour.
        for level, colour in _COLOURS.items():
            lines = [
                f"{colour}{level}{_PLAIN}{line.removeprefix(level)}" if line.startswith(level) else line
                for line in lines
            ]
    return "\n".join(lines) + "\n"
