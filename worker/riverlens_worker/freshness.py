"""How fresh a camera's frames must be: its policy, a frame's age, which of two frames gives way. Pure.

`every_frame` drops nothing. `max_age` drops frames older than a limit. `latest_only` also keeps just the
newest of a camera's waiting frames. Age is asked before a frame is fetched or decoded, when its batch is
sealed, and before each further call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from riverlens_worker.skew import Skews

if TYPE_CHECKING:  # the settings import this module, and should not load numpy for it
    from riverlens_worker.messages import LeasedFrame

LATEST_ONLY_MS = 1_000
"""The age limit of `latest_only` where none is given."""
_MOST_CAMERAS = 10_000
_LIMIT = re.compile(r"([0-9]{1,9})(ms|s)")
_UNITS_MS = {"ms": 1, "s": 1_000}


class Keeps(StrEnum):
    """The policies, by the names that the setting knows."""

    EVERY_FRAME = "every_frame"
    MAX_AGE = "max_age"
    LATEST_ONLY = "latest_only"


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of a camera's frames. `max_age_ms` is None where age does not matter."""

    keeps: Keeps = Keeps.EVERY_FRAME
    max_age_ms: int | None = None

    @property
    def latest_only(self) -> bool:
        """Whether a newer frame takes the place of one that waits."""
        return self.keeps is Keeps.LATEST_ONLY


@dataclass(frozen=True, slots=True)
class Rule:
    """The policy of all cameras whose id matches a glob pattern (`*`, `?`, `[abc]`), case and all."""

    pattern: str
    policy: Policy


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Rules from `PATTERN=POLICY` or `PATTERN=POLICY:LIMIT`, as `gate-*=max_age:500ms`.

    A policy alone is for all cameras.

    Raises:
        ValueError: one line: which rule is wrong, and how it should look.
    """
    rules: list[Rule] = []
    for text in texts:
        rule = _parse_rule(text)
        hiding = next((earlier for earlier in rules if earlier.pattern in ("*", rule.pattern)), None)
        if hiding is not None:
            raise ValueError(
                f"{text!r} never counts: {hiding.pattern!r} before it matches all its cameras, and the first "
                "match wins; put it first"
            )
        rules.append(rule)
    return tuple(rules)


def _parse_rule(text: str) -> Rule:
    pattern, equals, said = (part.strip() for part in text.rpartition("="))
    if equals and not pattern:
        raise ValueError(f"{text!r} names no camera; it should be like gate-*=max_age:500ms")
    pattern = pattern or "*"
    name, colon, limit = said.partition(":")
    if name not in list(Keeps):
        raise ValueError(f"{text!r}: {name!r} is no policy; one of {', '.join(Keeps)}")
    keeps = Keeps(name)
    if keeps is Keeps.EVERY_FRAME:
        if colon:
            raise ValueError(f"{text!r}: every_frame has no age limit; max_age:{limit} is probably meant")
        return Rule(pattern, Policy())
    if not colon and keeps is Keeps.MAX_AGE:
        raise ValueError(f"{text!r}: max_age needs a limit, such as {pattern}=max_age:500ms")
    return Rule(pattern, Policy(keeps, _limit_ms(text, limit) if colon else LATEST_ONLY_MS))


def _limit_ms(text: str, limit: str) -> int:
    found = _LIMIT.fullmatch(limit)
    limit_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
    if not limit_ms:
        raise ValueError(f"{text!r}: {limit!r} is no age limit; a whole number with ms or s, such as 500ms")
    return limit_ms


class Freshness:
    """The policies of all cameras. Knows no clock.

    Attributes:
        skews: whose clock is behind. Age counts from capture but for those: from when their frames come to
            Kafka at best.
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules
        self._known: dict[str, Policy] = {}
        self.skews = Skews()

    @property
    def asks(self) -> bool:
        """Whether some policy may drop frames; where none may, nobody needs to ask."""
        return any(rule.policy.max_age_ms is not None for rule in self._rules)

    @property
    def only_latest(self) -> bool:
        """Whether every camera there can be has the policy `latest_only`."""
        return (
            bool(self._rules)
            and self._rules[-1].pattern == "*"
            and all(rule.policy.latest_only for rule in self._rules)
        )

    def policy(self, camera_id: str) -> Policy:
        """The policy of the first rule whose pattern matches; `every_frame` where none does."""
        policy = self._known.get(camera_id)
        if policy is None:
            # Ids come from outside: cameras that come and go must not grow this for ever.
            if len(self._known) >= _MOST_CAMERAS:
                self._known.clear()
            matching = (rule.policy for rule in self._rules if fnmatchcase(camera_id, rule.pattern))
            policy = self._known[camera_id] = next(matching, Policy())
        return policy

    def replaceable(self, source: LeasedFrame) -> bool:
        """Whether a newer frame of the camera takes this one's place while it waits."""
        return not source.frame.redriven and self.policy(source.frame.camera_id).latest_only

    def stale(self, source: LeasedFrame, now_s: float) -> bool:
        """Whether the frame is older than its camera's limit; redriven ones never are."""
        camera_id = source.frame.camera_id
        limit_ms = self.policy(camera_id).max_age_ms
        if limit_ms is None or source.frame.redriven:
            return False
        return age_ms(source, now_s) - min(self.skews.of(camera_id), source.broker_ms) > limit_ms

    def learn(self, sources: Iterable[LeasedFrame]) -> list[LeasedFrame]:
        """Frames that were read as soon as Kafka had them; returns those that tell of a new clock skew."""
        newest = {source.frame.camera_id: source for source in sources if not source.frame.redriven}
        return [s for camera, s in newest.items() if self.skews.add(camera, s.broker_ms, s.arrived_s)]


def age_ms(source: LeasedFrame, now_s: float) -> float:
    """Milliseconds since capture, at `now_s` (monotonic); one captured in the future is new when it comes."""
    return source.broker_ms + (now_s - source.arrived_s) * 1000


def newer(one: LeasedFrame, other: LeasedFrame) -> bool:
    """Whether `one` was captured after `other` of the same lease; of a pair as old, the later one read."""
    return (_born_s(one), one.ordinal) > (_born_s(other), other.ordinal)


def _born_s(source: LeasedFrame) -> float:
    return source.arrived_s - source.broker_ms / 1000
