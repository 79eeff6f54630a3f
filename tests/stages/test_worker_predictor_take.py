"""How the predictor takes batches: those that wait at once, those that are still to come by a task."""

from __future__ import annotations

import pytest

from riverlens_worker.batcher import Batcher
from riverlens_worker.messages import Batch
from riverlens_worker.settings import WorkerSettings
from tests.harness.predicting import predicting
from tests.harness.scripted_server import ScriptedServer


async def test_a_batch_that_waits_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While frames wait no task is needed to get them: it would have them some turns of the loop later."""
    waited_for: list[Batch] = []
    take = Batcher.take

    async def counted(batcher: Batcher) -> Batch:
        waited_for.append(await take(batcher))
        return waited_for[-1]

    monkeypatch.setattr(Batcher, "take", counted)
    server = ScriptedServer()
    await server.start()
    try:
        async with predicting(WorkerSettings(server=server.address, max_batch_size=4)) as line:
            await line.send([b"good"] * 200)
        line.check()
        batches = line.value("riverlens_batch_rows_count")
        assert batches >= 50
        assert len(waited_for) < batches / 4
    finally:
        await server.stop()
