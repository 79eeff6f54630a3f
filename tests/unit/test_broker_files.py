"""The broker's parts that need no broker: Java's version, the jar cache, ports, properties, the folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from riverlens.broker import jars
from riverlens.broker.cds import SharedClasses
from riverlens.broker.home import ClusterHome
from riverlens.broker.java import find_java, java_major
from riverlens.broker.ports import LOOPBACK, NodePorts, free_ports, is_free
from riverlens.broker.properties import server_properties, to_text
from riverlens.errors import SetupError


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('IMPLEMENTOR="Debian"\nJAVA_VERSION="25.0.1"\n', 25),
        ("Error: could not open libjvm.so", None),
    ],
)
def test_java_version_is_read_in_every_spelling(text: str, major: int | None) -> None:
    """Old and new numbering, the program's output and the release file give the major version."""
    assert java_major(text) == major


def test_missing_java_names_where_it_was_looked_for() -> None:
    """Without any Java the error says what is needed and how to get it."""
    with pytest.raises(
        SetupError, match=r"Java 17 or later; no java in PATH; install one .* or set JAVA_HOME"
    ):
        find_java({"PATH": ""})


def test_java_home_wins_over_path(tmp_path: Path) -> None:
    """A JAVA_HOME without a java is an error, although PATH has one."""
    with pytest.raises(SetupError, match=f"no java in JAVA_HOME={tmp_path}"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": os.environ["PATH"]})


def test_old_java_is_refused(tmp_path: Path) -> None:
    """Java 11 is named as what was found; Kafka's own failure would be an UnsupportedClassVersionError."""
    _program(tmp_path / "bin" / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(SetupError, match="is Java 11"):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_cache_folder_follows_the_environment(tmp_path: Path) -> None:
    """RIVERLENS_CACHE wins over XDG_CACHE_HOME."""
    both = {"RIVERLENS_CACHE": str(tmp_path / "own"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    assert jars.cache_root(both) == tmp_path / "own"
    assert jars.cache_root({"XDG_CACHE_HOME": str(tmp_path / "xdg")}) == tmp_path / "xdg" / "riverlens"


def _fake_maven(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    _program(folder / "mvn", text)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


_COPIES_ONE_JAR = """\
echo run >> "$0.runs"
for word in "$@"; do case "$word" in -DoutputDirectory=*) into="${word#*=}";; esac; done
sleep 0.2
echo jar > "$into/a.jar"
"""


def test_jars_are_fetched_once_by_processes_that_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once run Maven once; a third finds the jars without Maven."""
    _fake_maven(monkeypatch, tmp_path / "bin", _COPIES_ONE_JAR)
    code = "import sys, pathlib; from riverlens.broker.jars import ensure_jars; print(ensure_jars())"
    environ = {**os.environ, "RIVERLENS_CACHE": str(tmp_path / "cache")}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    homes = {process.communicate(timeout=30)[0].strip() for process in both}
    assert len(homes) == 1
    assert (tmp_path / "bin" / "mvn.runs").read_text().count("run") == 1
    monkeypatch.setenv("PATH", "")
    assert jars.ensure_jars(tmp_path / "cache") == Path(homes.pop())


def test_a_damaged_copy_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jar that lost its content, and what a killed copy left, are replaced."""
    _fake_maven(monkeypatch, tmp_path / "bin", _COPIES_ONE_JAR)
    root = tmp_path / "cache"
    home = jars.ensure_jars(root)
    (home / "a.jar").write_bytes(b"")
    (root / ".partial-dead").mkdir()
    assert jars.ensure_jars(root) == home
    assert (home / "a.jar").read_text() == "jar\n"
    assert not list(root.glob(".partial-*"))


def test_a_failed_copy_leaves_nothing_to_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven's first error is in the message, and the next start tries again."""
    _fake_maven(monkeypatch, tmp_path / "bin", "echo '[ERROR] repository unknown'; exit 1")
    with pytest.raises(SetupError, match=r"could not fetch Kafka \(repository unknown\)"):
        jars.ensure_jars(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_missing_maven_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven and without a cache the error names the package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Maven, which fetches it, is missing.*apt-get install maven"):
        jars.ensure_jars(tmp_path / "cache")


def test_the_pom_names_kafka_4_1_or_later() -> None:
    """The embedded broker is Kafka 4.1 or later."""
    major, minor, *_ = (int(part) for part in jars.kafka_version().split("."))
    assert (major, minor) >= (4, 1)


def test_free_ports_differ_and_can_be_bound() -> None:
    """Each port is given once, is free, and is none that the kernel gives to outgoing connections."""
    ports = free_ports(12)
    assert len(set(ports)) == 12
    assert all(is_free(port) and port < 32768 for port in ports)


def test_a_port_with_a_listener_is_not_free() -> None:
    """A listening socket is seen."""
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_three_nodes_replicate_and_one_does_not() -> None:
    """Replication 3 and min.insync.replicas 2 for topics, offsets and transactions; 1 on a single node."""
    ports = [NodePorts({"PLAINTEXT": 100 + n}, 200 + n) for n in range(3)]
    three = server_properties(2, ports, Path("/data"))
    assert three["node.id"] == "2"
    assert three["controller.quorum.voters"] == "1@127.0.0.1:200,2@127.0.0.1:201,3@127.0.0.1:202"
    assert three["listeners"] == "PLAINTEXT://127.0.0.1:101,CONTROLLER://127.0.0.1:201"
    names = ("default", "offsets.topic", "transaction.state.log")
    assert {three[f"{name}.replication.factor"] for name in names} == {"3"}
    assert three["min.insync.replicas"] == three["transaction.state.log.min.isr"] == "2"
    one = server_properties(1, ports[:1], Path("/data"))
    assert {one[f"{name}.replication.factor"] for name in names} == {"1"}
    assert one["min.insync.replicas"] == one["transaction.state.log.min.isr"] == "1"


def test_listeners_and_properties_can_be_added() -> None:
    """A further listener has its protocol in the map; given properties win."""
    ports = [NodePorts({"PLAINTEXT": 1, "SASL_SSL": 2}, 3)]
    made = server_properties(1, ports, Path("/d"), {"message.max.bytes": "7"})
    assert "SASL_SSL://127.0.0.1:2" in made["listeners"]
    assert "SASL_SSL:SASL_SSL" in made["listener.security.protocol.map"]
    assert "message.max.bytes=7\n" in to_text(made)
    assert to_text({"a": "b\\c"}) == "a=b\\\\c\n"


def test_data_folder_remembers_its_cluster(tmp_path: Path) -> None:
    """The id stays over a restart; another number of brokers is refused with both numbers."""
    first = ClusterHome(1, tmp_path)
    first.close()
    again = ClusterHome(1, tmp_path)
    again.close()
    assert again.cluster_id == first.cluster_id
    with pytest.raises(SetupError, match="holds a cluster of 1; tried with 3"):
        ClusterHome(3, tmp_path)


def test_no_cluster_id_looks_like_a_flag() -> None:
    """Kafka's command line refuses an id that begins with a dash, which one in 64 random ones would."""
    for _ in range(500):
        home = ClusterHome(1)
        home.close()
        assert not home.cluster_id.startswith("-")
        assert len(home.cluster_id) == 22


def test_data_folder_serves_one_broker_at_a_time(tmp_path: Path) -> None:
    """A second user is told so, instead of Kafka's own lock error."""
    first = ClusterHome(1, tmp_path)
    with pytest.raises(SetupError, match="in use by another riverlens broker"):
        ClusterHome(1, tmp_path)
    first.close()


def test_unreadable_note_of_a_cluster_is_refused(tmp_path: Path) -> None:
    """A damaged cluster.json is named; formatting over somebody's data is no way out."""
    (tmp_path / "cluster.json").write_text(json.dumps(["?"]), encoding="utf-8")
    with pytest.raises(SetupError, match="cannot be read"):
        ClusterHome(1, tmp_path)


def test_the_archive_of_classes_is_used_once_it_is_whole(tmp_path: Path) -> None:
    """Without an archive a start gets no option for it; what a broker recorded is moved in whole."""
    java = _program(tmp_path / "java", "exit 0")
    classes = SharedClasses(java, tmp_path / "kafka-x")
    assert classes.missing
    assert classes.use() == []
    recorded = tmp_path / "recorded.jsa"
    recorded.write_bytes(b"classes")
    classes.keep(recorded)
    (option,) = SharedClasses(java, tmp_path / "kafka-x").use()
    assert Path(option.partition("=")[2]).read_bytes() == b"classes"
    assert not recorded.exists()


def test_another_java_has_another_archive(tmp_path: Path) -> None:
    """An archive is bound to the Java that wrote it: after an upgrade a new one is made."""
    classes = SharedClasses(_program(tmp_path / "java", "exit 0"), tmp_path / "kafka-x")
    recorded = tmp_path / "recorded.jsa"
    recorded.write_bytes(b"classes")
    classes.keep(recorded)
    assert SharedClasses(_program(tmp_path / "java", "exit 1 # newer"), tmp_path / "kafka-x").missing


def test_an_archive_that_was_not_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopping a broker succeeds with a warning when the archive cannot be kept."""
    classes = SharedClasses(_program(tmp_path / "java", "exit 0"), tmp_path / "kafka-x")
    classes.keep(tmp_path / "never-written")
    assert classes.missing
    assert "not kept" in caplog.text
