"""The folder of a cluster: whose it is, what it holds, and that one process uses it at a time."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from riverlens.errors import SetupError


class ClusterHome:
    """A temporary folder, or `data_dir` for data that outlives the broker.

    Holds `cluster.json` (cluster id, number of brokers), `users.sha256` and one folder `node-<n>` a broker,
    with `server.properties`, `kafka.log` and `data`.

    Raises:
        SetupError: `data_dir` cannot be used, is in use, or holds a cluster of another size.
    """

    def __init__(self, brokers: int, data_dir: Path | None = None) -> None:
        self.temporary = data_dir is None
        self._lock: TextIO | None = None
        if data_dir is None:
            self.path = Path(tempfile.mkdtemp(prefix="riverlens-kafka-"))
            self.cluster_id = _new_cluster_id()
        else:
            self.path = data_dir.expanduser().absolute()
            try:
                self._take()
                self.cluster_id = self._recall(brokers)
            except OSError as error:
                self.close()
                raise SetupError(
                    f"{self.path} cannot hold the broker's data ({error}); see --data-dir"
                ) from error
            except SetupError:
                self.close()
                raise
        for number in range(1, brokers + 1):
            self.node(number).mkdir(parents=True, exist_ok=True)

    def node(self, number: int) -> Path:
        """The folder of one broker."""
        return self.path / f"node-{number}"

    def formatted(self, number: int) -> bool:
        """Whether this broker's storage has been formatted."""
        return (self.node(number) / "data" / "meta.properties").exists()

    def keep_users(self, credentials: Sequence[str]) -> None:
        """Remember who may log in; Kafka's storage holds them from its formatting on.

        Raises:
            SetupError: it was formatted with other users or passwords.
        """
        note = self.path / "users.sha256"
        digest = hashlib.sha256("\n".join(credentials).encode()).hexdigest()
        if not self.formatted(1):
            note.write_text(digest, encoding="ascii")
        elif (note.read_text(encoding="ascii") if note.exists() else None) != digest and credentials:
            raise SetupError(
                f"{self.path} was made with other users or passwords; "
                "use those (--users), or another --data-dir"
            )

    def close(self) -> None:
        """Let go of the folder; remove it if it is temporary. Call when no broker uses it any more."""
        if self._lock is not None:
            self._lock.close()
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)

    def _take(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"{self.path} is in use by another riverlens broker; stop it or choose another --data-dir"
            ) from None

    def _recall(self, brokers: int) -> str:
        """The id of the cluster that lies here; a new one where there is none."""
        note = self.path / "cluster.json"
        if not note.exists():
            cluster_id = _new_cluster_id()
            note.write_text(json.dumps({"cluster_id": cluster_id, "brokers": brokers}), encoding="utf-8")
            return cluster_id
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            cluster_id, size = str(known["cluster_id"]), int(known["brokers"])
        except (ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{note} cannot be read ({error!r}); choose another --data-dir") from None
        if size != brokers:
            raise SetupError(
                f"{self.path} holds a cluster of {size}; tried with {brokers}: "
                f"use --brokers {size} or another --data-dir"
            )
        return cluster_id


def _new_cluster_id() -> str:
    """As Kafka makes ids: 16 random bytes in URL-safe base64, no padding, no leading dash (a flag's mark)."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
