"""What the transcoder costs beside a route that somebody writes by hand for the same RPC.

Both ask the same gateway for its status over gRPC and answer in JSON; they take turns, each
under the same number of clients. `python -m bench.transcoder ADDRESS` is the route by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import grpc
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.system import Endpoints
from gateway.web.server import WebServer
from headgate.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc

CLIENT_COUNT: Final = 8
ROUND_COUNT: Final = 3
SECONDS: Final = 3.0
PATH: Final = "/v1/status"
TARGET_RATIO: Final = 0.5


async def measure(endpoints: Endpoints, key: str) -> dict[str, float]:
    """Returns the rates of both, a second, and the transcoder's over the other's."""
    rates = {"transcoder": 0.0, "by_hand": 0.0}
    async with _by_hand(endpoints.gateway) as page:
        pages = {"transcoder": str(endpoints.content["http"][0]), "by_hand": page}
        for _ in range(ROUND_COUNT):
            for name, url in pages.items():
                rates[name] += await _rate(url, key) / ROUND_COUNT
    return {**rates, "ratio": rates["transcoder"] / rates["by_hand"]}


async def _rate(url: str, key: str) -> float:
    end = time.perf_counter() + SECONDS
    counts = await asyncio.gather(*(_ask(url, key, end) for _ in range(CLIENT_COUNT)))
    return sum(counts) / SECONDS


async def _ask(url: str, key: str, end: float) -> int:
    """Asks over one connection until then; returns how often."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"GET {PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n"
    count = 0
    while time.perf_counter() < end:
        writer.write(head.encode())
        said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not said.startswith("http/1.1 200"):
            raise RuntimeError(said)
        length = int(said.partition("content-length: ")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        count += 1
    writer.close()
    return count


@contextlib.asynccontextmanager
async def _by_hand(gateway: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.transcoder", gateway), stdout=asyncio.subprocess.PIPE
    )
    if process.stdout is None:
        raise RuntimeError("a process with a pipe has one")
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _serve(gateway: str) -> None:
    async with grpc.aio.insecure_channel(gateway) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)

        async def answer(request: Request) -> Response:
            shown = (("authorization", request.headers["authorization"]),)
            asked = gateway_pb2.GetStatusRequest()
            found = await stub.GetStatus(asked, metadata=shown, timeout=15.0)
            state = gateway_pb2.ServiceState.Name(found.state)
            providers = [{"provider": each.provider} for each in found.providers]
            return JSONResponse({"state": state, "stale": found.stale, "providers": providers})

        server = WebServer(Starlette(routes=[Route(PATH, answer)]), "127.0.0.1:0")
        print(server.port, flush=True)
        await server.run()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
