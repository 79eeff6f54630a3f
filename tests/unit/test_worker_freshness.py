"""Freshness policies: how they are set, which frames they drop, which of two frames gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens_worker.freshness import Freshness, Keeps, Policy, age_ms, newer, parse_rules
from riverlens_worker.settings import WorkerSettings
from tests.live_frames import live
from tests.worker_parts import examples

RULES = ("lobby-1=every_frame", "lobby-*=latest_only", "gate-?=max_age:500ms", "dock[12]=latest_only:2s")


@pytest.mark.parametrize(
    ("camera", "policy"),
    [
        ("lobby-1", Policy()),
        ("lobby-2", Policy(Keeps.LATEST_ONLY, 1_000)),
        ("lobby-", Policy(Keeps.LATEST_ONLY, 1_000)),
        ("gate-7", Policy(Keeps.MAX_AGE, 500)),
        ("gate-17", Policy()),
        ("dock2", Policy(Keeps.LATEST_ONLY, 2_000)),
        ("dock3", Policy()),
        ("LOBBY-2", Policy()),
        ("", Policy()),
    ],
)
def test_the_first_pattern_that_matches_wins(camera: str, policy: Policy) -> None:
    """Patterns are asked in their order, case and all; a camera that none matches keeps every frame."""
    freshness = Freshness(parse_rules(RULES))
    assert freshness.policy(camera) == policy
    assert freshness.policy(camera) == policy, "asked again"


def test_a_policy_alone_is_for_all_cameras() -> None:
    """`latest_only` says the same as `*=latest_only`."""
    assert parse_rules(["latest_only"]) == parse_rules(["*=latest_only"])


@pytest.mark.parametrize(
    ("rules", "asks", "only_latest"),
    [
        ((), False, False),
        (("every_frame",), False, False),
        (("max_age:1s",), True, False),
        (("latest_only",), True, True),
        (("a=latest_only:2s", "*=latest_only"), True, True),
        (("a*=latest_only",), True, False),
        (("a=every_frame", "*=latest_only"), True, False),
    ],
)
def test_what_all_policies_have_in_common(rules: tuple[str, ...], *, asks: bool, only_latest: bool) -> None:
    """Whether anything may be dropped at all, and whether every camera there can be is `latest_only`."""
    freshness = Freshness(parse_rules(rules))
    assert (freshness.asks, freshness.only_latest) == (asks, only_latest)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("a=newest", "'newest' is no policy; one of every_frame, max_age, latest_only"),
        ("=latest_only", "names no camera"),
        ("a=max_age", "max_age needs a limit, such as a=max_age:500ms"),
        ("a=max_age:500", "'500' is no age limit"),
        ("a=max_age:0ms", "'0ms' is no age limit"),
        ("a=latest_only:", "'' is no age limit"),
        ("a=latest_only:-1s", "'-1s' is no age limit"),
        ("a=max_age:1e3ms", "'1e3ms' is no age limit"),
        ("a=every_frame:1s", "every_frame has no age limit; max_age:1s is probably meant"),
        ("lobby", "'lobby' is no policy"),
        ("*=latest_only,a=every_frame", "'a=every_frame' never counts: '*' before it"),
        ("a=latest_only,a=every_frame", "never counts: 'a' before it"),
    ],
)
def test_a_wrong_rule_is_told_in_one_line_that_names_the_setting(rule: str, told: str) -> None:
    """What is wrong, how it should look, and which flag or variable sets it."""
    with pytest.raises(SettingsError) as caught:
        load(WorkerSettings, [f"--freshness={rule}"], prog="riverlens worker run")
    text = str(caught.value)
    assert told in text
    assert len(text.splitlines()) == 1
    assert "--freshness" in text
    assert "RIVERLENS_FRESHNESS" in text


def test_rules_come_from_file_variable_and_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A list in the file; text with commas between in the variable and the flag; the same rules."""
    file = tmp_path_factory.mktemp("settings") / "riverlens.toml"
    file.write_text('[worker]\nfreshness = ["lobby-*=latest_only", "gate=max_age:2s"]\n', encoding="utf-8")
    text = "lobby-*=latest_only, gate=max_age:2s"
    found = [
        load(WorkerSettings, ["--config", str(file)], prog="worker").policies,
        load(WorkerSettings, [f"--freshness={text}"], prog="worker").policies,
    ]
    monkeypatch.setenv("RIVERLENS_FRESHNESS", text)
    found.append(load(WorkerSettings, [], prog="worker").policies)
    assert [policies.policy("lobby-1").keeps for policies in found] == [Keeps.LATEST_ONLY] * 3
    assert [policies.policy("gate").max_age_ms for policies in found] == [2_000] * 3
    assert not WorkerSettings().policies.asks


def test_ids_from_outside_do_not_grow_memory_for_ever() -> None:
    """However many cameras come and go, the policies kept in mind stay bounded, and right."""
    freshness = Freshness(parse_rules(["a*=latest_only"]))
    for number in range(25_000):
        assert freshness.policy(f"a{number}").latest_only
    assert len(freshness._known) <= 10_000  # what is bounded is not told anywhere


@examples()
@given(
    camera=st.sampled_from(["every", "aged", "live"]),
    captured_s=st.floats(-100, 100),
    waited_s=st.floats(0, 100),
    redriven=st.booleans(),
)
def test_a_frame_is_stale_once_it_is_older_than_its_limit(
    *, camera: str, captured_s: float, waited_s: float, redriven: bool
) -> None:
    """Age runs from capture; from the future it runs from arrival; `every_frame` and redriven never stale."""
    freshness = Freshness(parse_rules(["aged=max_age:5s", "live=latest_only"]))
    frame = live(camera, captured_s=captured_s, arrived_s=0.0, redriven=int(redriven))
    expected_ms = (max(0.0, -captured_s) + waited_s) * 1000
    assert age_ms(frame, waited_s) == pytest.approx(expected_ms, abs=1e-3)
    limit_ms = {"every": float("inf"), "aged": 5_000, "live": 1_000}[camera]
    if abs(expected_ms - limit_ms) > 0.01:
        assert freshness.stale(frame, waited_s) == (expected_ms > limit_ms and not redriven)
    assert freshness.replaceable(frame) == (camera == "live" and not redriven)


@examples()
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 5)), min_size=2, max_size=2))
def test_of_two_frames_exactly_one_is_newer(times: list[tuple[float, float]]) -> None:
    """The later captured one; of a pair as old the later read; never both, never neither."""
    one, other = (live("a", captured_s=c, arrived_s=a, ordinal=n) for n, (c, a) in enumerate(times))
    assert newer(one, other) != newer(other, one)
    born = [min(captured_s, arrived_s) for captured_s, arrived_s in times]
    if abs(born[0] - born[1]) > 1e-6:
        assert newer(one, other) == (born[0] > born[1])
