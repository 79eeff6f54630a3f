"""What model servers refuse: the guilty frame alone, or what is too much at once, and nothing more."""

from __future__ import annotations

from pathlib import Path

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg, poison_png
from tests.harness.topics import Put, put

BATCHING = """
max_batch_size { value: 5 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: 1 }
max_enqueued_batches { value: 100 }
"""


async def test_only_the_poisonous_frames_are_dead_lettered(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """One frame in twenty that the model's own decoder refuses: exactly those, with their original bytes."""
    poison, image = poison_png(), jpeg()
    frames = [Put(poison if n % 20 == 7 else image, b"cam-%d" % (n % 4), partition=n % 4) for n in range(400)]
    await put(kafka, topic_set.frames, frames)
    worker = await workers(topic_set, signature="encoded_image_string")
    account = await settled(kafka, topic_set, 400)
    account.check()
    assert sorted(account.letters) == sorted((n % 4, n // 4) for n in range(400) if n % 20 == 7)
    assert set(account.reasons().values()) == {"model_rejected"}
    assert all(letter.value == poison for letter in account.letters.values())
    counts = await worker.at_rest()
    assert (counts["published"], counts["dead_lettered"]) == (380, 20)
    assert (await worker.metrics())["riverlens_predict_errors_total{code=INVALID_ARGUMENT}"] > 0


async def test_a_smaller_batch_limit_is_learnt(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """A server that takes 5 rows a call teaches it to a worker that sends 32, and no frame pays for it."""
    parameters = tmp_path / "batching.config"
    parameters.write_text(BATCHING)
    flags = (
        "--model_name=colour",
        f"--model_base_path={colour_model}",
        "--enable_batching",
        f"--batching_parameters_file={parameters}",
    )
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        await put(kafka, topic_set.frames, [Put(jpeg(), partition=n % 4) for n in range(400)])
        worker = await workers(topic_set, server=own.address)
        account = await settled(kafka, topic_set, 400)
        account.check()
        assert not account.letters
        assert max(body["batch"]["size"] for body in account.events.values()) == 5
        refused = (await worker.metrics())["riverlens_predict_errors_total{code=INVALID_ARGUMENT}"]
        # Only calls already built when the limit was learnt are refused after it.
        assert refused <= 2 * 2


async def test_frames_of_many_sizes_go_through(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Cameras of different sizes: calls hold one shape each, events their own image's size, all in order."""
    sizes = [(32, 24), (48, 32), (24, 32), (160, 120)]
    images = [jpeg(size=size) for size in sizes]
    frames = [Put(images[(n // 4 + n) % 4], b"cam-%d" % (n % 4), partition=n % 4) for n in range(400)]
    await put(kafka, topic_set.frames, frames)
    await workers(topic_set)
    account = await settled(kafka, topic_set, 400)
    account.check()
    for (partition, offset), body in account.events.items():
        width, height = sizes[(offset + offset * 4 + partition) % 4]
        assert body["image"] == {"width": width, "height": height}
