"""What becomes of frames whose call failed: asked again, searched for the guilty one, or given up.

Nothing is given up while no call at all passes: every final verdict needs an answer to another call, or to
the test image that the model took at the start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from riverlens.dead_letter import Reason
from riverlens_worker.endpoints import Endpoint
from riverlens_worker.errors import Action, Limit, ModelError, Verdict
from riverlens_worker.expectation import Call
from riverlens_worker.grouping import GuiltRate
from riverlens_worker.limits import CallLimits
from riverlens_worker.messages import Rejected, dead_letter
from riverlens_worker.pieces import Piece, after_refusal, in_pieces, release_rest
from riverlens_worker.predictor.call import Caller

logger = logging.getLogger(__name__)

_FRESH_S = 1.0
"""An answer older than this does not show that a server works."""
_ASK_AGAIN_S = (0.05, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that failed."""

    piece: Piece
    endpoint: Endpoint
    call: Call
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows: pieces to ask, first ones first; whether after a pause; a frame given up."""

    pieces: list[Piece]
    pause: bool = False
    given_up: Rejected | None = None


class Judge:
    """Decides on failed calls. Keeps the call limits and the share of guilty frames."""

    def __init__(self, caller: Caller, limits: CallLimits, fixed_rows: int | None) -> None:
        self._caller = caller
        self._limits = limits
        self._fixed_rows = fixed_rows
        self.guilt = GuiltRate()

    async def split(self, failed: Failed) -> Outcome:
        """More than a call may hold: smaller ones. A single frame that is too much is the guilty one."""
        piece, verdict, limits = failed.piece, failed.verdict, self._limits
        rows = len(piece.frames)
        if verdict.limit is Limit.ROWS and verdict.max_rows is not None:
            if self._fixed_rows is not None and verdict.max_rows < self._fixed_rows:
                raise ModelError(
                    f"the model at {failed.endpoint.server} takes just {self._fixed_rows} rows, its server "
                    f"at most {verdict.max_rows}; see max_batch_size in the server's batching file"
                )
            limits.refused_rows(verdict.max_rows)
        elif rows == 1:
            # One frame too large by itself teaches nothing: a limit of 1 for all would stay for good.
            memory = verdict.limit is Limit.MEMORY
            return await (self.retry(failed) if memory else self.bisect(failed))
        elif verdict.limit is Limit.MEMORY:
            limits.ran_out_of_memory(rows)
        elif verdict.limit is Limit.REPLY:
            limits.refused_rows(max(1, min(int(rows * verdict.fraction), rows - 1)))
        else:
            limits.refused_bytes(int(sum(f.nbytes for f in piece.frames) * verdict.fraction * 0.98))
        now = limits.current()
        logger.info("calls hold at most %d frames, %d bytes: %s", now.rows, now.nbytes, verdict.why)
        smaller = max(1, min(rows // 2 if rows > now.rows or verdict.limit is Limit.REQUEST else rows, rows))
        return Outcome([*in_pieces(piece.frames, min(now.rows, smaller), piece.reason), *release_rest(piece)])

    async def bisect(self, failed: Failed) -> Outcome:
        """A refused group is halved; a frame refused alone is asked once more, all alone, then given up."""
        piece = failed.piece
        if len(piece.frames) > 1:
            return Outcome(after_refusal(piece))
        others = release_rest(piece)
        if piece.refused_s is None:
            # A neighbour in the server's own batch may be the guilty one.
            piece.alone, piece.refused_s = True, failed.call.started_s
            return Outcome([piece, *others])
        if failed.endpoint.load.passed_s < piece.refused_s and not await self._works(failed):
            return Outcome([piece, *others], pause=True)
        return self._give_up(failed, others)

    async def retry(self, failed: Failed) -> Outcome:
        """A fault that may pass: tries count only while the server works for others."""
        piece = failed.piece
        piece.avoid = failed.endpoint.server
        fresh_s = max(failed.call.started_s, time.monotonic() - _FRESH_S)
        if failed.endpoint.load.passed_s < fresh_s and not await self._works(failed):
            return Outcome([piece], pause=True)
        piece.tries += 1
        if not piece.worn_out:
            return Outcome([piece], pause=True)
        if len(piece.frames) > 1:
            piece.searched = True
            return Outcome(after_refusal(piece))
        return self._give_up(failed, release_rest(piece))

    def _give_up(self, failed: Failed, others: list[Piece]) -> Outcome:
        source = failed.piece.frames[0].source
        reason = Reason.MODEL_TIMEOUT if failed.verdict.timed_out else Reason.MODEL_REJECTED
        self.guilt.add(1, guilty=1)
        return Outcome(others, given_up=dead_letter(source, reason, failed.verdict.why))

    async def _works(self, failed: Failed) -> bool:
        """Whether the server answers the known good row now.

        Raises:
            ModelError: it refuses that too, again and again: what it serves is not what we learnt to feed.
        """
        why = ""
        for pause_s in _ASK_AGAIN_S:
            if not failed.endpoint.up:
                return False
            said = await self._caller.ask_known_good(failed.endpoint)
            if said is None:
                return True
            if said.passes or said.action is Action.SPLIT:
                return False
            why = said.why
            # Another client's frame in the server's own batch may have failed it.
            await asyncio.sleep(pause_s)
        raise ModelError(
            f"the model server at {failed.endpoint.server} refuses even the test image that it took at the "
            f"start ({why}): its model has changed; start the worker again, see the setting signature"
        )
