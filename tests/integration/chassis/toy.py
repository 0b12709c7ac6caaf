"""A deployable with a service of its own, for tests of what all deployables have in common.

Run as `python -m tests.integration.chassis.toy serve`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from opentelemetry import trace
from pydantic_settings import SettingsConfigDict

from chassis.config import Settings
from chassis.process import Deployable, JobError, Process, run
from chassis.server import Server, ServiceTokenAuthenticator, deadline, principal

SERVICE: Final = "headgate.tests.v1.ToyService"
TOKEN: Final = "a token that only the tests' services know"

log = structlog.get_logger()


class Toy:
    """Answers as the request asks."""

    def __init__(self, failures: dict[str, Exception] | None = None) -> None:
        self.failures = failures or {}
        # What an empty text is answered with.
        self.name = ""
        # Set while a `Wait` is under way; it ends when the test sets the second one.
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()

    async def until_waiting(self) -> None:
        async with asyncio.timeout(10):
            await self.waiting.wait()

    async def Echo(self, request: StringValue, context: Any) -> StringValue:  # noqa: N802 - like a contract\'s
        if request.value in self.failures:
            raise self.failures[request.value]
        return StringValue(value=request.value or self.name)

    async def Wait(self, request: StringValue, context: Any) -> StringValue:  # noqa: N802 - like a contract\'s
        """Takes as many seconds as the text says; without one it waits for the test's word."""
        self.waiting.set()
        if request.value:
            await asyncio.sleep(float(request.value))
        else:
            await self.go.wait()
        return request

    async def Describe(self, request: Empty, context: Any) -> StringValue:  # noqa: N802 - like a contract\'s
        end = deadline()
        left = None if end is None else round(end - asyncio.get_running_loop().time())
        span = trace.get_current_span().get_span_context()
        return StringValue(value=f"{principal()} {left} {span.trace_id:032x}")

    async def Count(self, request: Int64Value, context: Any) -> AsyncIterator[Int64Value]:  # noqa: N802 - like a contract\'s
        """Counts up to the value; a negative one means that no end is in sight."""
        for number in range(abs(request.value)):
            yield Int64Value(value=number)
        if request.value < 0:
            self.waiting.set()
            await self.go.wait()
            raise self.failures["Count"]

    def Later(self, request: Empty, context: Any) -> Empty:  # noqa: N802 - like a contract\'s
        raise NotImplementedError


def add_to_server(servicer: Any, server: Any) -> None:
    """What generated code does."""
    unary = grpc.unary_unary_rpc_method_handler
    text = StringValue
    handlers: dict[str, Any] = {
        "Echo": unary(servicer.Echo, text.FromString, text.SerializeToString),
        "Wait": unary(servicer.Wait, text.FromString, text.SerializeToString),
        "Describe": unary(servicer.Describe, Empty.FromString, text.SerializeToString),
        "Later": unary(servicer.Later, Empty.FromString, Empty.SerializeToString),
        "Count": grpc.unary_stream_rpc_method_handler(
            servicer.Count, Int64Value.FromString, Int64Value.SerializeToString
        ),
    }
    generic: Any = grpc.method_handlers_generic_handler(SERVICE, handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    """What generated code gives a client."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        def unary(name: str, request: Any, response: Any) -> Any:
            return channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )

        self.Echo = unary("Echo", StringValue, StringValue)
        self.Wait = unary("Wait", StringValue, StringValue)
        self.Describe = unary("Describe", Empty, StringValue)
        self.Later = unary("Later", Empty, Empty)
        self.Count: Any = channel.unary_stream(
            f"/{SERVICE}/Count",
            request_serializer=Int64Value.SerializeToString,
            response_deserializer=Int64Value.FromString,
        )


class ToySettings(Settings):
    model_config = SettingsConfigDict(env_prefix="HEADGATE_HEALTH_")


def settings(**fields: Any) -> ToySettings:
    """Settings that need no environment."""
    defaults: dict[str, Any] = {
        "listen_address": "127.0.0.1:0",
        "database_url": "postgresql://headgate_toy:secret@127.0.0.1:1/none",
        "service_token": TOKEN,
        "propagation_seconds": 0,
    }
    return ToySettings(**defaults | fields)


def add_toy(server: Server, toy: Toy) -> None:
    server.add(
        add_to_server,
        toy,
        service_name=SERVICE,
        authenticate=ServiceTokenAuthenticator(TOKEN),
    )


@asynccontextmanager
async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
    """Serves; says on the log in which order it ends."""
    add_toy(process.server, Toy())

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.info("work_ended")

    async def say_drained() -> None:
        log.info("drain_callback")

    process.spawn("work", work())
    process.server.on_drain(say_drained)
    yield
    log.info("cleaned_up")


async def succeed(settings: ToySettings) -> None:
    log.info("job_done", rows=3)


async def fail(settings: ToySettings) -> None:
    raise JobError("nothing to do it with")


async def crash(settings: ToySettings) -> None:
    raise RuntimeError("a bug")


async def hang(settings: ToySettings) -> None:
    log.info("job_hangs")
    await asyncio.Event().wait()


MIGRATIONS: Final = Path(__file__).parent / "toy_migrations"
TOY: Final = Deployable(
    name="toy",
    settings=ToySettings,
    migrations=MIGRATIONS,
    serve=serve,
    jobs={"succeed": succeed, "fail": fail, "crash": crash, "hang": hang},
)

if __name__ == "__main__":
    run(TOY)
