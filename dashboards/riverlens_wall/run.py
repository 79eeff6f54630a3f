"""`riverlens wall`."""

from __future__ import annotations

import asyncio
import logging
import signal

from riverlens.kafka_producer import log_leftovers
from riverlens.logs import set_up_logs
from riverlens.settings import load
from riverlens_wall.server import Wall
from riverlens_wall.settings import WallSettings

logger = logging.getLogger(__name__)


def main(argv: list[str], prog: str) -> int:
    """Serve the page until SIGTERM or SIGINT; 0 after a clean stop.

    Raises:
        SetupError: the port is taken or the address is not this machine's.
    """
    settings = load(WallSettings, argv, prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    asyncio.run(run_wall(settings))
    return 0


async def run_wall(settings: WallSettings) -> None:
    """One wall with its signal handlers, until it is stopped. Kafka may come and go meanwhile.

    Raises:
        SetupError: as `main`.
    """
    wall = Wall(settings)
    loop = asyncio.get_running_loop()
    log_leftovers(loop)
    address = await wall.start()
    logger.info("the wall is at %s", address)
    running = asyncio.create_task(wall.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        logger.info("stopped")
    finally:
        await wall.close()
