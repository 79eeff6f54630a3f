"""Which Java runs the broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from riverlens.errors import SetupError

OLDEST_JAVA = 17
"""Kafka 4 refuses anything older (its server classes are compiled for 17)."""

_REMEDY = (
    "install one (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) "
    "or set JAVA_HOME"
)
_VERSION = re.compile(r'version "(?:1\.)?(\d+)|^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """The `java` program of JAVA_HOME, else of PATH.

    Raises:
        SetupError: there is none, or it is older than 17.
    """
    home = environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin")) if home else environ.get("PATH", ""))
    where = f"JAVA_HOME={home}" if home else "PATH"
    if found is None:
        raise SetupError(f"Kafka needs Java {OLDEST_JAVA} or later; no java in {where}; {_REMEDY}")
    java = Path(found)
    major = java_major(_version_text(java))
    if major is None:
        raise SetupError(
            f"Kafka needs Java {OLDEST_JAVA} or later; {java} does not tell its version; {_REMEDY}"
        )
    if major < OLDEST_JAVA:
        raise SetupError(f"Kafka needs Java {OLDEST_JAVA} or later; {java} is Java {major}; {_REMEDY}")
    return java


def java_major(text: str) -> int | None:
    """The major version in a JDK's `release` file or in what `java -version` prints; 8 for 1.8.

    >>> java_major('openjdk version "17.0.15" 2025-04-15')
    17
    """
    match = _VERSION.search(text)
    return int(match[1] or match[2]) if match else None


def _version_text(java: Path) -> str:
    """The installation's `release` file, which costs nothing to read; else the program's own word."""
    release = java.resolve().parent.parent / "release"
    if release.is_file():
        return release.read_text(encoding="utf-8", errors="replace")
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603  # the program just found
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stderr + answer.stdout
