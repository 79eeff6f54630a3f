"""The wall over HTTP and WebSocket, on a real Kafka: what a browser gets, and what others do not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from io import BytesIO

import aiohttp
import pytest
from PIL import Image

from riverlens import Event, Frame
from riverlens.broker import EmbeddedBroker
from riverlens.dead_letter import Origin
from riverlens.errors import SetupError
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs
from riverlens_wall.server import Wall
from riverlens_wall.settings import WallSettings
from tests.conftest import TopicSet
from tests.harness.security import Acl, Operation, Resource, SecuredKafka
from tests.harness.topics import Put, ends, producer, put
from tests.harness.wall import browse, reads, serve
from tests.harness.wall_feed import event_of

SCRIPT = "<script>alert(1)</script>"


def _jpeg(size: tuple[int, int] = (64, 48), quality: int = 80) -> bytes:
    output = BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(output, "JPEG", quality=quality)
    return output.getvalue()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as running:
        yield running


async def _frame_and_event(topics: TopicSet, frame: Frame, size: tuple[int, int] = (64, 48)) -> Event:
    """Put one frame on Kafka, then its event; the event."""
    kafka = topics.settings.kafka
    async with producer(kafka) as running:
        place = await running.send_and_wait(
            topics.frames, frame.image, key=frame.key(), headers=frame.headers()
        )
        event = event_of(frame, Origin(place.topic, place.partition, place.offset), [], size)
        await running.send_and_wait(
            topics.events, event.to_json(), key=frame.key(), partition=place.partition
        )
    return event


async def test_a_frame_and_its_event_reach_the_browser(
    topic_set: TopicSet, session: aiohttp.ClientSession
) -> None:
    """A small frame comes as it is, with its event's size; the whole frame and the JSON can be opened."""
    image = _jpeg()
    async with serve(topic_set) as address, browse(session, address) as browser:
        await browser.until(lambda: reads(browser), "frames are read")
        event = await _frame_and_event(topic_set, Frame(SCRIPT, image, 1_790_000_000_000, sequence=4))
        await browser.until(lambda: browser.pictures, "a picture")
        await browser.until(lambda: browser.pictures[0][0]["answered"], "its event")
        head, shown = browser.pictures[0]
        assert shown == image
        assert (head["size"], head["mime"]) == ([64, 48], "image/jpeg")
        assert browser.status["cameras"][0]["id"] == SCRIPT
        place = f"{head['partition']}/{head['offset']}"
        assert place == f"{event.origin.partition}/{event.origin.offset}"
        async with session.get(f"{address}event/{place}") as reply:
            assert (reply.status, reply.content_type) == (200, "application/json")
            assert json.loads(await reply.text())["camera_id"] == SCRIPT
        async with session.get(f"{address}frame/{place}") as reply:
            assert (reply.status, reply.content_type) == (200, "image/jpeg")
            assert await reply.read() == image


async def test_large_frames_are_scaled_and_others_explained(
    topic_set: TopicSet, session: aiohttp.ClientSession
) -> None:
    """A tile gets a small JPEG of a large frame; references and raw pixels are told in words."""
    large = _jpeg((1600, 1200), 95)
    odd = {
        b"link": Put(b"https://a/b.jpg", b"link", [("content-type", b"text/uri-list")]),
        b"raw": Put(bytes(300), b"raw", [("content-type", b"application/x-raw-rgb;width=10;height=10")]),
        b"large": Put(large, b"large"),
        b"broken": Put(large[:200_000] + bytes(200_000), b"broken"),
    }
    async with serve(topic_set) as address, browse(session, address) as browser:
        await browser.until(lambda: reads(browser), "frames are read")
        await put(topic_set.settings.kafka, topic_set.frames, list(odd.values()))
        await browser.until(lambda: len(browser.pictures) == len(odd), "a picture of each")
        names = {camera["key"]: camera["id"] for camera in browser.status["cameras"]}
        found = {names[key]: picture for key, picture in browser.pictures.items()}
        assert "a reference" in found["link"][0]["note"]
        assert "raw pixels" in found["raw"][0]["note"]
        head, shown = found["large"]
        assert Image.open(BytesIO(shown)).size == (240, 180)
        assert (head["size"], head["answered"]) == ([1600, 1200], False)
        reference = next(key for key, name in names.items() if name == "link")
        head = browser.pictures[reference][0]
        async with session.get(f"{address}frame/{head['partition']}/{head['offset']}") as reply:
            assert reply.status == 415
            assert "a reference" in (await reply.json())["why"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("frame/99/0", 404),
        ("frame/0/999999", 404),
        ("event/0/999999", 202),
        ("event/x/0", 404),
        ("static/nothing.js", 404),
        ("static/..%2Frun.py", 404),
        ("healthz", 200),
        ("", 200),
        ("static/main.js", 200),
    ],
)
async def test_every_answer_carries_the_rules_for_browsers(
    topic_set: TopicSet, session: aiohttp.ClientSession, path: str, status: int
) -> None:
    """Whatever is asked: no inline code, no framing, no guessing of types; what is missing is a 404."""
    async with serve(topic_set) as address, session.get(f"{address}{path}") as reply:
        assert reply.status == status
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_other_sites_get_nothing(
    topic_set: TopicSet, session: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    """A page elsewhere cannot open the WebSocket, nor read the page under its own name."""
    async with serve(topic_set) as address:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{address}live", headers=headers)
        assert refused.value.status == 403
        async with session.get(address, headers=headers) as reply:
            assert reply.status == 403


async def test_one_browser_too_many_is_sent_away(topic_set: TopicSet, session: aiohttp.ClientSession) -> None:
    """The bound holds; a place that is given up is free again."""
    async with serve(topic_set, max_viewers=1) as address:
        async with browse(session, address), session.ws_connect(f"{address}live") as second:
            assert (await second.receive()).type is aiohttp.WSMsgType.CLOSE
            assert second.close_code == 1013
        async with browse(session, address) as browser:
            assert browser.status


async def test_browsers_that_sleep_do_not_hold_up_the_end(
    topic_set: TopicSet, session: aiohttp.ClientSession
) -> None:
    """Three that never answer a goodbye cost a moment together, not ten seconds each."""
    async with AsyncExitStack() as sleeping:
        async with serve(topic_set) as address:
            for _ in range(3):
                browser = session.ws_connect(f"{address}live", autoclose=False, autoping=False)
                await (await sleeping.enter_async_context(browser)).receive()
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 15


async def test_nothing_is_committed_and_no_group_is_made(
    topic_set: TopicSet, session: aiohttp.ClientSession
) -> None:
    """The wall reads beside the workers and leaves nothing on Kafka: ends do not move, frames stay."""
    kafka = topic_set.settings.kafka
    async with serve(topic_set) as address, browse(session, address) as browser:
        await browser.until(lambda: reads(browser), "frames are read")
        await _frame_and_event(topic_set, Frame("lobby", _jpeg(), 1))
        await browser.until(lambda: browser.pictures, "a picture")
    assert sum((await ends(kafka, topic_set.frames)).values()) == 1
    assert sum((await ends(kafka, topic_set.events)).values()) == 1


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A Kafka that a test may kill."""
    with EmbeddedBroker() as running:
        yield running


async def test_kafka_may_be_away_at_the_start_and_later(
    own_broker: EmbeddedBroker, session: aiohttp.ClientSession
) -> None:
    """The page says that Kafka is away, and frames come again by themselves when it is back."""
    kafka = KafkaSettings(bootstrap_servers=own_broker.bootstrap_servers)
    settings = TopicsSettings(kafka=kafka, partitions=2)
    await ensure_topics(kafka, topic_specs(settings))
    topics = TopicSet("frames", "detections", "frames.dlq", "none", settings)
    await asyncio.to_thread(own_broker.kill, 1)
    async with serve(topics) as address, browse(session, address) as browser:
        for count in (1, 2):
            await browser.until(lambda: browser.status["kafka_away"], "the word that Kafka is away")
            assert browser.status["verdict"]["level"] == "bad"
            await asyncio.to_thread(own_broker.start, 1)
            await browser.until(lambda: not browser.status["kafka_away"], "the word that it is back")
            await browser.until(lambda: reads(browser), "frames are read")
            await _frame_and_event(topics, Frame(f"camera-{count}", _jpeg(), 1))
            await browser.until(lambda: len(browser.pictures) == count, "a picture")  # noqa: B023  # used at once
            await asyncio.to_thread(own_broker.kill, 1)


async def test_two_rights_to_read_are_all_it_needs(
    secured: SecuredKafka, secured_topics: TopicSet, session: aiohttp.ClientSession
) -> None:
    """Without a right the page names it; with Read on both topics, and no group, it comes by itself."""
    topics = secured_topics
    async with serve(topics, kafka=secured.login("nobody")) as address, browse(session, address) as browser:
        await browser.until(lambda: browser.status["kafka_away"], "the missing right")
        assert "does not let user 'nobody'" in browser.status["kafka_away"]
        rights = [Acl(Resource.TOPIC, name, Operation.READ) for name in (topics.frames, topics.events)]
        await secured.allow("nobody", *rights)
        await browser.until(lambda: not browser.status["kafka_away"], "the right is enough")
        await browser.until(lambda: reads(browser), "frames are read")
        await _frame_and_event(topics, Frame("lobby", _jpeg(), 1))
        await browser.until(lambda: browser.pictures, "a picture")
        head, _ = browser.pictures[0]
        async with session.get(f"{address}frame/{head['partition']}/{head['offset']}") as reply:
            assert reply.status == 200
        assert "nobody-" not in str(browser.status)


async def test_a_taken_port_is_one_line(topic_set: TopicSet) -> None:
    """The message names the settings that mend it."""
    async with serve(topic_set) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(
            SetupError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*; see wall_host and wall_port"
        ):
            await Wall(WallSettings(kafka=topic_set.settings.kafka, wall_port=port)).start()
