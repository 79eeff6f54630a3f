"""Frames that go in one call, and how a refused group is searched for its guilty frame. Pure.

A group that was refused as a whole holds a guilty frame. Its first half is asked: if that passes, the
other half is known to be guilty and is halved at once; if it is refused, nothing is known of the other.
So one guilty frame among n costs about log2(n) smaller calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from riverlens.drop import DropReason
from riverlens_worker.freshness import Freshness
from riverlens_worker.messages import Batch, BatchReason, DecodedFrame, Rejected, dropped, fenced

TRIES = 3
"""Failures, while other calls pass, after which a group is searched and a single frame is given up."""


@dataclass(slots=True, eq=False)
class Piece:
    """Frames of one call. A batch is one piece until a call of it fails.

    Attributes:
        rest: the other half of a refused group; what is known of it depends on this half's answer.
        tries: failures that count: others passed meanwhile.
        attempts: all failures in a row; the pause grows with them.
        searched: part of a group that failed too often: one more failure of a group halves it.
        alone: it must have the server to itself, as far as we can see to it.
        refused_s: when its first call as a single frame began.
        full: it could not have grown: a whole batch at a limit.
        avoid: name of the endpoint that failed it last.
    """

    frames: list[DecodedFrame]
    reason: BatchReason
    rest: list[DecodedFrame] = field(default_factory=list)
    tries: int = 0
    attempts: int = 0
    searched: bool = False
    alone: bool = False
    full: bool = False
    refused_s: float | None = None
    avoid: str = ""

    @property
    def rows(self) -> int:
        """Frames held, those of the rest included."""
        return len(self.frames) + len(self.rest)

    @property
    def ready_s(self) -> float:
        """When the first of its frames could have left (monotonic)."""
        return min((frame.ready_s for frame in self.frames), default=float("-inf"))

    @property
    def worn_out(self) -> bool:
        """Whether it has failed as often as it may."""
        return self.tries >= (1 if self.searched and len(self.frames) > 1 else TRIES)


def sift(piece: Piece, freshness: Freshness | None, now_s: float) -> list[Rejected]:
    """Take out the frames of partitions that moved on, and stale ones; returns their rejections.

    `freshness` is None where every frame counts.
    """
    gone = [
        frame
        for frame in (*piece.frames, *piece.rest)
        if not frame.source.lease.open or (freshness is not None and freshness.stale(frame.source, now_s))
    ]
    if gone:
        piece.frames = [frame for frame in piece.frames if frame not in gone]
        piece.rest = [frame for frame in piece.rest if frame not in gone]
        piece.full = False
    return [
        dropped(source, DropReason.STALE) if source.lease.open else fenced(source)
        for source in (frame.source for frame in gone)
    ]


def unless_empty(piece: Piece) -> list[Piece]:
    """The piece; where it has no frames left, what remains of its other half."""
    return [piece] if piece.frames else release_rest(piece)


def in_pieces(frames: list[DecodedFrame], rows: int, reason: BatchReason) -> list[Piece]:
    """Pieces of at most `rows` frames, of which nothing is known."""
    return [Piece(frames[k : k + rows], reason) for k in range(0, len(frames), rows)]


def of_batch(batch: Batch, first: int, rows: int) -> list[Piece]:
    """The pieces of a new batch: the first `first` frames by themselves, no more than `rows` in any."""
    frames = list(batch.frames)
    pieces = [
        piece for part in (frames[:first], frames[first:]) for piece in in_pieces(part, rows, batch.reason)
    ]
    pieces[-1].full = len(pieces) == 1 and batch.reason in (BatchReason.FULL, BatchReason.BYTES)
    return pieces


def halved(frames: list[DecodedFrame], like: Piece) -> Piece:
    """A guilty group of two or more frames, to be asked for its first half."""
    half = len(frames) // 2
    return Piece(frames[:half], like.reason, rest=frames[half:], searched=like.searched)


def release_rest(piece: Piece) -> list[Piece]:
    """Part from the other half: nothing is known of it."""
    rest, piece.rest = piece.rest, []
    return [Piece(rest, piece.reason, searched=piece.searched)] if rest else []


def after_pass(piece: Piece) -> list[Piece]:
    """What is left to ask when this half was answered: the guilty frame is in the other one."""
    rest = piece.rest
    if len(rest) > 1:
        return [halved(rest, piece)]
    return [Piece(rest, piece.reason, searched=piece.searched)] if rest else []


def after_refusal(piece: Piece) -> list[Piece]:
    """What to ask when a group of two or more was refused."""
    return [halved(piece.frames, piece), *release_rest(piece)]
