"""`riverlens worker redrive`."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from riverlens.logs import set_up_logs
from riverlens.settings import load
from riverlens_worker.redrive.letter import Letter, read_letter
from riverlens_worker.redrive.reader import Reader
from riverlens_worker.redrive.selection import Fate, Wish, fate
from riverlens_worker.redrive.settings import RedriveSettings
from riverlens_worker.redrive.table import Tally
from riverlens_worker.redrive.writer import Writer

logger = logging.getLogger(__name__)

_CHUNK_FRAMES = 100
_CHUNK_BYTES = 16 * 1024 * 1024


def main(argv: Sequence[str], prog: str) -> int:
    """Put dead letters back, print what was done; 0, or 1 where Kafka did not take some of the frames.

    Raises:
        RiverlensError: Kafka does not answer or refuses us; another redrive is at work.
    """
    settings = load(RedriveSettings, argv, prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    tally = Tally(settings.limit)
    try:
        asyncio.run(_redrive(settings, tally))
    finally:
        # Said of what was done before an error, too.
        if settings.dry_run and tally.groups:
            sys.stdout.write("\n".join(tally.table()) + "\n")
        sys.stdout.write(tally.summary(dry_run=settings.dry_run) + "\n")
    return 1 if tally.refused else 0


async def _redrive(settings: RedriveSettings, tally: Tally) -> None:
    await Redrive(settings, settings.wish(time.time_ns() // 1_000_000), tally).run()


class Redrive:
    """One run. Make it inside the event loop."""

    def __init__(self, settings: RedriveSettings, wish: Wish, tally: Tally) -> None:
        self._settings = settings
        self._wish = wish
        self._reader = Reader(settings)
        self._writer = Writer(settings)
        self._tally = tally

    async def run(self) -> None:
        """Read all partitions; put back what is asked for.

        Raises:
            RiverlensError: as `main`.
        """
        try:
            await self._reader.start()
            if not self._settings.dry_run:
                await self._writer.start()
            for partition in self._reader.partitions():
                if not self._tally.limited:
                    await self._partition(partition)
            if not self._settings.dry_run:
                await self._reader.remember()
        finally:
            await self._writer.close()
            await self._reader.close()

    async def _partition(self, partition: int) -> None:
        chunk: list[Letter] = []
        nbytes, place = 0, -1
        async for records in self._reader.records(partition):
            for record in records:
                if place >= 0 and record.offset > place + 1:
                    # Marks of transactions: nothing that could be put back, and memory in one piece.
                    self._reader.memory(partition).add(place + 1, record.offset - 1)
                place = record.offset
                letter = self._look(record, partition)
                if letter is None:
                    continue
                chunk.append(letter)
                nbytes += letter.nbytes
                if len(chunk) >= _CHUNK_FRAMES or nbytes >= _CHUNK_BYTES:
                    await self._put_back(chunk)
                    chunk, nbytes = [], 0
                if self._tally.limited:
                    break
            if self._tally.limited:
                break
        await self._put_back(chunk)

    def _look(self, record: object, partition: int) -> Letter | None:
        """The letter, where it goes back; it is counted in any case."""
        letter = read_letter(record)  # type: ignore[arg-type]  # aiokafka ships no types
        if letter is None:
            self._tally.strangers += 1
            return None
        done = letter.offset in self._reader.memory(partition)
        decided = fate(letter, self._wish, done=done)
        self._tally.count(letter, decided)
        return letter if decided is Fate.GOES else None

    async def _put_back(self, letters: Sequence[Letter]) -> None:
        if not letters or self._settings.dry_run:
            return
        async with self._reader.busy:
            self._reader.see_claim()
            sent = await self._writer.put_back(letters)
            for letter in sent.acknowledged:
                self._reader.memory(letter.partition).add(letter.offset)
                self._tally.redriven += 1
            for letter, why in sent.refused:
                self._tally.refused[why] += 1
                logger.warning("frame %s stays: Kafka does not take it: %s", letter.first, why)
            await self._reader.remember()
        if sent.failure is not None:
            raise sent.failure
