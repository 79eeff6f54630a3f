"""The wall's board: what browsers are told of the cameras, fed with records as Kafka gives them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from riverlens_wall.board import Board
from riverlens_wall.pipeline import UNTOLD
from riverlens_wall.settings import WallSettings
from tests.worker_parts import FakeRecord


@dataclass(frozen=True)
class _Record(FakeRecord):
    offset: int = 0


def _tile(board: Board, now_s: float) -> dict[str, Any]:
    status = board.status(now_s, 0, reading_frames=True, kafka_away="", metrics=(None, None, UNTOLD))
    (tile,) = status["cameras"]
    assert isinstance(tile, dict)
    return tile


def _sent(board: Board, times_s: Iterable[float]) -> None:
    for offset, now_s in enumerate(times_s):
        board.take_frames([_Record(offset=offset)], now_s)


@pytest.mark.parametrize(
    ("every_s", "silent_after_s", "silent"),
    [(0.1, 3.0, False), (0.1, 5.0, True), (60.0, 200.0, False), (60.0, 300.0, True)],
)
def test_a_camera_is_silent_when_it_pauses_for_much_longer_than_usual(
    every_s: float, silent_after_s: float, *, silent: bool
) -> None:
    """One frame a minute is a healthy camera; one that sends ten a second is missed after some seconds."""
    board = Board(WallSettings())
    _sent(board, [every_s * number for number in range(20)])
    assert _tile(board, 19 * every_s + silent_after_s)["silent"] is silent


def test_a_camera_that_is_back_is_soon_missed_again() -> None:
    """One long pause does not make it a slow camera: some frames later its usual pauses count."""
    board = Board(WallSettings())
    back = [300.0 + number / 10 for number in range(20)]
    _sent(board, [0.0, 0.1, *back])
    assert _tile(board, back[-1] + 1.0)["silent"] is False
    assert _tile(board, back[-1] + 5.0)["silent"] is True
