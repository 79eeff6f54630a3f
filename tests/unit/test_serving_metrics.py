"""The metrics page, and which version a label may stand for."""

from __future__ import annotations

import pytest

from riverlens_serving import labels
from riverlens_serving.metrics import Counter, Histogram, Metrics
from riverlens_serving.status import Code, ServingError, invalid


def test_a_metric_without_cells_is_its_type_alone() -> None:
    """A fresh page holds one TYPE line a metric, sorted by name, and no HELP."""
    lines = Metrics().page().splitlines()
    assert all(line.startswith("# TYPE :tensorflow:") for line in lines)
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert lines == sorted(lines)


def test_counters_keep_their_labels() -> None:
    """Label values are quoted and escaped; a metric without labels has empty braces."""
    counter = Counter("/tensorflow/x_y", "model_name")
    counter.add('a"b\\c\n')
    counter.add('a"b\\c\n', by=2)
    assert list(counter.lines()) == [
        "# TYPE :tensorflow:x_y counter",
        ':tensorflow:x_y{model_name="a\\"b\\\\c\\n"} 3',
    ]
    plain = Counter("/n")
    plain.add()
    assert list(plain.lines())[1] == ":n{} 1"


def test_histograms_count_cumulatively() -> None:
    """Each bucket holds what lies below its bound; the last holds everything."""
    histogram = Histogram("/h", (10.0, 20.0), "model")
    for value in (5, 10, 15, 1e9):
        histogram.observe(value, "m")
    assert list(histogram.lines()) == [
        "# TYPE :h histogram",
        ':h_bucket{model="m",le="10"} 1',
        ':h_bucket{model="m",le="20"} 3',
        ':h_bucket{model="m",le="+Inf"} 4',
        ':h_sum{model="m"} 1000000030',
        ':h_count{model="m"} 4',
    ]


def test_callers_cannot_grow_the_page_for_ever() -> None:
    """From a thousand names on, new ones count as `other`."""
    counter = Counter("/n", "model_name", "status")
    for number in range(1002):
        counter.add(str(number), "OK")
    lines = list(counter.lines())
    assert len(lines) == 1002
    assert lines[-1] == ':n{model_name="other",status="other"} 2'


@pytest.mark.parametrize(
    ("error", "status"), [(None, "OK"), (invalid("x"), "INVALID_ARGUMENT"), (ValueError(), "INTERNAL")]
)
def test_a_request_counts_by_its_end(error: Exception | None, status: str) -> None:
    """Every end of a request is counted under its status, and only OK is timed."""
    metrics = Metrics()

    def request() -> None:
        with metrics.request("m", "Predict", "GRPC"):
            if error is not None:
                raise error

    if error is None:
        request()
    else:
        with pytest.raises(type(error)):
            request()
    page = metrics.page()
    assert f':tensorflow:serving:request_count{{model_name="m",status="{status}"}} 1' in page
    assert (":tensorflow:serving:request_latency_count{" in page) == (error is None)


READY = {"m": frozenset({1, 2})}


@pytest.mark.parametrize(
    ("known", "version", "allow", "is_given"),
    [
        ({}, 1, False, True),
        ({}, 3, False, False),
        ({}, 3, True, True),
        ({"m": {"stable": 1}}, 2, False, True),
        ({"m": {"stable": 1}}, 3, True, False),
        ({"m": {"stable": 3}}, 3, True, True),
        ({"m": {"stable": 3}}, 3, False, False),
    ],
)
def test_a_label_points_at_what_answers(
    known: labels.Labels,
    version: int,
    allow: bool,  # noqa: FBT001  # columns
    is_given: bool,  # noqa: FBT001  # columns
) -> None:
    """A label needs a ready version; the switch frees new labels, never one that would move."""

    def assign() -> labels.Labels:
        return labels.assign(
            {"m": {"stable": version}},
            known,
            lambda name: READY.get(name, frozenset()),
            allow_unavailable=allow,
        )

    if is_given:
        assert assign() == {"m": {"stable": version}}
        return
    with pytest.raises(ServingError) as caught:
        assign()
    assert caught.value.code is Code.FAILED_PRECONDITION
