"""Kafka requests that aiokafka 0.14 lacks, or reads wrongly. Fields as Kafka's message definitions name them.

All of them only ask. Authorized operations (KIP-430) say what we may do without trying it; DescribeQuorum
(KIP-836) is the one answer that holds the other side's clock.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.group import JoinGroupRequest_v5
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

_TEXT = String("utf-8")
_SHORT_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class Ask:
    """A request of exactly one version, for `AIOKafkaClient.send`."""

    def __init__(self, struct: RequestStruct) -> None:
        self._struct = struct

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        """The request, as aiokafka asks for it.

        Raises:
            IncompatibleBrokerVersion: the broker does not know this version.
        """
        lowest, highest = versions.get(self._struct.API_KEY, (0, -1))
        if not lowest <= self._struct.API_VERSION <= highest:
            raise IncompatibleBrokerVersion(
                f"the broker has no {type(self._struct).__name__.removesuffix('Request')} of "
                f"version {self._struct.API_VERSION}"
            )
        return self._struct


class MetadataAnswer(Response):  # type: ignore[misc]  # aiokafka has no types
    """Metadata version 8."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", Array(Int32)),
                        ("isr_nodes", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("topic_authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class MetadataRequest(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    """Topics by name, with what we may do to them; creates none."""

    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = MetadataAnswer
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class DescribeGroupsRequest(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's own version 3 reads the answer as version 2, and fails on every group."""

    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


_REPLICA = (
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    _TAGS,
)


class DescribeQuorumAnswer(Response):  # type: ignore[misc]  # aiokafka has no types
    """DescribeQuorum version 1."""

    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic_name", _SHORT_TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", CompactArray(*_REPLICA)),
                        ("observers", CompactArray(*_REPLICA)),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class DescribeQuorumRequest(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    """State of the controllers' quorum: its leader's own timestamps are its clock as it answers."""

    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = DescribeQuorumAnswer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_name", _SHORT_TEXT),
                ("partitions", CompactArray(("partition_index", Int32), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class ListTransactionsAnswer(Response):  # type: ignore[misc]  # aiokafka has no types
    """ListTransactions version 0."""

    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(_SHORT_TEXT)),
        (
            "transaction_states",
            CompactArray(
                ("transactional_id", _SHORT_TEXT),
                ("producer_id", Int64),
                ("transaction_state", _SHORT_TEXT),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class ListTransactionsRequest(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    """Transactional ids that one broker coordinates, those that we may describe."""

    FLEXIBLE_VERSION = True
    API_KEY = 66
    API_VERSION = 0
    RESPONSE_TYPE = ListTransactionsAnswer
    SCHEMA = Schema(
        ("state_filters", CompactArray(_SHORT_TEXT)), ("producer_id_filters", CompactArray(Int64)), _TAGS
    )


def metadata(topics: list[str]) -> Any:
    """Ask for topics and our rights on them."""
    return Ask(MetadataRequest(topics, False, False, True))


def describe_group(group: str) -> Any:
    """Ask for one group, its members and our rights on it."""
    return Ask(DescribeGroupsRequest([group], True))


def describe_quorum() -> Any:
    """Ask for the controllers' quorum."""
    return Ask(DescribeQuorumRequest([("__cluster_metadata", [(0, {})], {})], {}))


def list_transactions() -> Any:
    """Ask one broker for all transactional ids that it coordinates."""
    return Ask(ListTransactionsRequest([], [], {}))


def join_group(group: str, session_timeout_ms: int, rebalance_timeout_ms: int) -> Any:
    """Ask to join, as a worker does, without a member id: at this version the broker answers with one.

    So nobody joined, and nothing is rebalanced; older versions would let us in at once.
    """
    protocols = [("roundrobin", b"")]  # aiokafka's default, which the worker's consumer has
    return Ask(
        JoinGroupRequest_v5(group, session_timeout_ms, rebalance_timeout_ms, "", None, "consumer", protocols)
    )
