"""What the tutorials show: a loop that sends one image in each call and waits for its answer."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.stacks.arguments import Arguments, read_arguments
from benchmarks.stacks.detector import (
    decode,
    events,
    jpeg_request,
    open_channel,
    pixel_request,
    predict_method,
)
from benchmarks.stacks.process import run_until_stopped, say_ready


async def _main(arguments: Arguments) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=arguments.bootstrap,
        group_id=arguments.group,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=arguments.bootstrap)
    async with consumer, producer, open_channel(arguments) as channel:
        predict = predict_method(channel)
        await say_ready(consumer, arguments.frames_topic)
        async for record in consumer:
            image = record.value or b""
            if arguments.mode == "jpeg":
                request = jpeg_request(arguments.model, [image])
            else:
                request = pixel_request(arguments.model, [decode(image)])
            reply = await predict(request)
            [event] = events(reply, [record])
            await producer.send_and_wait(arguments.events_topic, event, key=record.key)


if __name__ == "__main__":
    run_until_stopped(_main(read_arguments()))
