"""Kafka's jars: fetched once by Maven into a cache, then used from there without network or Maven."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from riverlens.errors import SetupError

_log = logging.getLogger(__name__)

POM = Path(__file__).with_name("pom.xml")
_LIST = "jars.json"
_PARTIAL = ".partial-"
_FETCH_TIMEOUT_S = 900


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """RIVERLENS_CACHE, else `riverlens` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    if own := environ.get("RIVERLENS_CACHE"):
        return Path(own).expanduser().absolute()
    users = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(users) / "riverlens"


def kafka_version(pom: Path = POM) -> str:
    """The version of Apache Kafka that the pom names."""
    match = re.search(r"<kafka\.version>([^<]+)<", pom.read_text(encoding="utf-8"))
    if match is None:
        raise SetupError(f"{pom} names no kafka.version; reinstall riverlens")
    return match[1]


def ensure_jars(root: Path | None = None, pom: Path = POM) -> Path:
    """The folder that holds all jars; Maven fetches them (43 MB) where it does not exist yet.

    The folder's name has Kafka's version and a hash of the pom, so another pom is another folder. It
    appears whole or not at all: Maven copies beside it, a list of sizes is added, then it is renamed.
    Processes that come at the same time wait for the first.

    Raises:
        SetupError: Maven is missing or failed, or the cache cannot be written.
    """
    root = cache_root() if root is None else root
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:8]
    home = root / f"kafka-{kafka_version(pom)}-{digest}"
    if is_whole(home):
        return home
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            if not is_whole(home):
                _install(home, pom)
    except OSError as error:
        raise SetupError(f"Kafka's jars cannot be kept in {root} ({error}); set RIVERLENS_CACHE") from error
    return home


def is_whole(home: Path) -> bool:
    """Whether every listed jar is there with its size: a power cut can leave empty files behind a rename."""
    try:
        sizes: dict[str, int] = json.loads((home / _LIST).read_text(encoding="utf-8"))
        return bool(sizes) and all((home / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the cache against other processes; Maven's own repository does not bear two at once either."""
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(home: Path, pom: Path) -> None:
    # Only the holder of the lock makes these, so what lies there was left by a process that was killed.
    for stale in home.parent.glob(f"{_PARTIAL}*"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
    if home.exists():
        shutil.rmtree(home)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home.parent))
    try:
        _fetch(partial, pom)
        sizes = {jar.name: jar.stat().st_size for jar in sorted(partial.glob("*.jar"))}
        if not sizes:
            raise SetupError(f"Maven copied no jars for {pom}; try again with an empty RIVERLENS_CACHE")
        (partial / _LIST).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(into: Path, pom: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(
            "Apache Kafka is not in the cache yet and Maven, which fetches it, is missing: no mvn in PATH; "
            "install it (Debian, Ubuntu: apt-get install maven; macOS: brew install maven), once"
        )
    _log.info("fetching Apache Kafka %s with Maven into %s (43 MB, once)", kafka_version(pom), into.parent)
    goal = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    try:
        answer = subprocess.run(  # noqa: S603  # Maven and our own pom
            [*goal, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_FETCH_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise SetupError(
            f"Maven did not fetch Kafka within {_FETCH_TIMEOUT_S} s; tried: {' '.join(goal)}"
        ) from None
    if answer.returncode != 0:
        raise SetupError(
            f"Maven could not fetch Kafka ({_first_error(answer.stdout + answer.stderr)}); "
            f"tried: {' '.join(goal)}; it needs the network once, then never again"
        )


def _first_error(output: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    errors = [line.removeprefix("[ERROR]").strip() for line in plain.splitlines() if "[ERROR]" in line]
    return (errors or ["it said nothing"])[0][:400]
