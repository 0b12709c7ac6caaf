"""Runs the stand-in: `python -m local.demo.provider --bill FILE`.

Prints its port as one JSON line when it listens. Ends on SIGTERM, and with `--with-parent` when
its standard input closes: a demo that is killed leaves no stand-in behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from pathlib import Path

import uvicorn

from local.demo.provider.app import StandIn, build
from local.demo.provider.bill import Bill, load_prices


def main() -> None:
    """Reads the options and serves until told to stop."""
    options = _parse_options()
    with Bill(options.bill) as bill:
        stand_in = StandIn(
            prices=load_prices(),
            bill=bill,
            seed=options.seed,
            speed=options.speed,
            error_rate=options.error_rate,
        )
        asyncio.run(_serve(stand_in, options.port, with_parent=options.with_parent))


async def _serve(stand_in: StandIn, port: int, *, with_parent: bool) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    # Broken streams are injected on purpose: uvicorn need not log each of them as a bug.
    config = uvicorn.Config(
        build(stand_in),
        http="h11",
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    parent = asyncio.create_task(_stop_with_parent(server)) if with_parent else None
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    try:
        await server.serve(sockets=[listener])
    finally:
        if parent is not None:
            parent.cancel()


async def _stop_with_parent(server: uvicorn.Server) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    server.should_exit = True


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.demo.provider", description=__doc__)
    parser.add_argument("--bill", type=Path, required=True, help="file that gets the bill")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every latency")
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of failing calls")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
