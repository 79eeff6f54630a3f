"""W3C trace context as it is read, written, sampled and made."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from riverlens.errors import SetupError
from riverlens.trace_context import TraceContext, derived_id, in_share, log_fields, read_traceparent
from riverlens.tracing import TracingEndpoint, open_export, traces_url
from tests.worker_parts import examples

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@examples(200)
@given(trace_id=st.integers(1, 2**128 - 1), span_id=st.integers(1, 2**64 - 1), sampled=st.booleans())
def test_a_context_reads_back_as_it_was_written(trace_id: int, span_id: int, sampled: bool) -> None:  # noqa: FBT001  # hypothesis gives it
    """Every context survives its header."""
    context = TraceContext(trace_id, span_id, sampled)
    assert read_traceparent(context.traceparent()) == context


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # further flags are no concern of ours
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_valid_headers_are_read(text: str, sampled: bool) -> None:  # noqa: FBT001  # a table's column
    """Version 00, and later ones as far as they are known."""
    assert read_traceparent(text) == TraceContext(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{'٤' * 32}-{SPAN}-01",
    ],
)
def test_what_is_no_header_is_none(text: str) -> None:
    """W3C: a trace begins anew where the header is invalid."""
    assert read_traceparent(text) is None
    assert log_fields(text) == {}


@examples(50)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_made_ids_are_stable_and_fit(parts: list[str]) -> None:
    """Equal parts give equal ids, never 0, of the size asked for; parts do not run into each other."""
    assert derived_id(16, *parts) == derived_id(16, *parts)
    assert 0 < derived_id(8, *parts) < 2**64
    assert derived_id(8, *parts, "a", "b") != derived_id(8, *parts, "ab")


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_the_share_is_the_ratio(ratio: float, least: int, most: int) -> None:
    """Of 2000 traces as many are sampled as the ratio says, and the same ones every time."""
    ids = [derived_id(16, number) for number in range(2000)]
    assert least <= sum(in_share(trace_id, ratio) for trace_id in ids) <= most


def test_log_lines_name_trace_and_span() -> None:
    """A line about a frame has the ids by OpenTelemetry's names."""
    assert log_fields(f"00-{TRACE}-{SPAN}-01") == {"trace_id": TRACE, "span_id": SPAN}
    assert log_fields(None) == {}


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example/", "https://otel.example/v1/traces"),
        ("https://otel.example/tenant/v1/traces", "https://otel.example/tenant/v1/traces"),
    ],
)
def test_spans_go_to_otlps_path_unless_another_is_given(endpoint: str, url: str) -> None:
    """The endpoint is a base address, or the whole one."""
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("127.0.0.1:4318", "not the address"),
        ("grpc://127.0.0.1:4317", "not the address"),
        ("http://", "not the address"),
        ("http://127.0.0.1:99999", "not the address"),
        ("https://me:secret@otel.example", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_what_is_no_collectors_address_is_refused(endpoint: str, says: str) -> None:
    """Before anything starts; a password has its place elsewhere, because addresses are logged."""
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(TracingEndpoint).validate_python(endpoint)


def test_off_needs_nothing() -> None:
    """With tracing off there is no export."""
    assert open_export("off", "http://127.0.0.1:4318", "riverlens-worker") is None


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry the error is one line with the pip command."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "riverlens.trace_export", raising=False)
    with pytest.raises(SetupError, match=r"^tracing=otlp needs .*pip install 'riverlens\[tracing\]'.*$"):
        open_export("otlp", "http://127.0.0.1:4318", "riverlens-worker")


@pytest.mark.parametrize("role", ["riverlens_worker.run", "riverlens_producer.run"])
def test_roles_load_nothing_of_opentelemetry(role: str) -> None:
    """A role without tracing costs neither the import nor the memory."""
    code = f"import sys, {role}; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
