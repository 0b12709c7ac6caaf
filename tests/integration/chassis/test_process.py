"""The command line, run as processes are: its output, its exit codes, and the end under load."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import StringValue

from chassis.peers import open_channel
from headgate import channel
from tests.integration.chassis import toy
from tests.integration.chassis.calls import TOKEN
from tests.integration.chassis.commands import NOWHERE, Environment, build, environment_of
from tests.integration.chassis.toy import Stub
from tests.postgres import CHECKOUT, Clone


@pytest_asyncio.fixture
async def environment(clone: Clone) -> Environment:
    """What a toy needs to run on a database with its schema."""
    url = await clone("toy_neighbours", build)
    return environment_of(url)


async def start(environment: Environment, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.chassis.toy",
        *arguments,
        cwd=CHECKOUT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Returns the exit code and what was written."""
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def serving(
    environment: Environment, **fields: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A process that serves, and the line that it told us so with."""
    own = {f"HEADGATE_HEALTH_{name.upper()}": value for name, value in fields.items()}
    process = await start(environment | own, "serve")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = json.loads(await process.stdout.readline())
        yield process, line
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def events(log: str) -> list[str]:
    return [json.loads(line)["event"] for line in log.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_says_where_it_listens_and_ends_in_order(
    environment: Environment, number: signal.Signals
) -> None:
    async with serving(environment, metrics_address="127.0.0.1:0") as (process, line):
        async with open_as_peer(line["address"]) as opened:
            answer = await Stub(opened).Echo(StringValue(value="x"))
        process.send_signal(number)
        code, out, err = await finish(process)

    assert answer.value == "x"
    assert line["event"] == "listening"
    assert line["service"] == "toy"
    assert line["address"] == f"127.0.0.1:{line['port']}"
    assert line["metrics_port"] > 0
    assert (code, out) == (0, "")
    assert events(err) == ["draining", "drain_callback", "drained", "work_ended", "cleaned_up"]


def open_as_peer(*addresses: str) -> grpc.aio.Channel:
    return open_channel(addresses, toy.settings())


def open_as_backend(*addresses: str) -> grpc.aio.Channel:
    return channel.open_channel(f"ipv4:{','.join(addresses)}")


@pytest.mark.parametrize(
    ("open_together", "metadata"), [(open_as_peer, ()), (open_as_backend, TOKEN)]
)
async def test_a_process_that_is_told_to_stop_under_load_fails_no_rpc(
    environment: Environment,
    open_together: Callable[..., grpc.aio.Channel],
    metadata: tuple[tuple[str, str], ...],
) -> None:
    """With a second replica: the calls in flight end where they are, the others go to it."""
    counts = {"answered": 0, "away": 0}
    stopped = asyncio.Event()

    async def call(stub: Stub) -> None:
        while not stopped.is_set():
            for attempt in (1, 2):
                try:
                    await stub.Wait(
                        StringValue(value="0.005"),
                        timeout=10,
                        wait_for_ready=True,
                        metadata=metadata,
                    )
                    counts["answered"] += 1
                    break
                except grpc.aio.AioRpcError as error:
                    # A refusal before the server began: the client asks the other replica.
                    if attempt == 2 or error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    counts["away"] += 1

    async with (
        serving(environment, propagation_seconds="0.2") as (first, first_line),
        serving(environment) as (_second, second_line),
        open_together(first_line["address"], second_line["address"]) as opened,
    ):
        stub = Stub(opened)
        async with asyncio.TaskGroup() as callers:
            for _ in range(32):
                callers.create_task(call(stub))
            await until(lambda: counts["answered"] > 200)
            first.send_signal(signal.SIGTERM)
            code, _, log = await finish(first)
            answered = counts["answered"]
            await until(lambda: counts["answered"] > answered + 200)
            stopped.set()

    assert code == 0
    assert "cleaned_up" in events(log)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - the callers only count
            await asyncio.sleep(0.005)


async def test_a_signal_while_it_starts_ends_it_cleanly(environment: Environment) -> None:
    # Nobody listens there, so it waits for its database.
    away = environment | {"HEADGATE_HEALTH_DATABASE_URL": "postgresql://x:y@127.0.0.1:1/none"}
    process = await start(away | {"HEADGATE_HEALTH_LOG_LEVEL": "debug"}, "serve")
    await until(lambda: catches_sigterm(process.pid))
    process.send_signal(signal.SIGTERM)

    assert (await finish(process))[:2] == (0, "")


def catches_sigterm(pid: int) -> bool:
    """Says whether the process has a handler for it; Linux tells it as a mask."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - no file of ours
        masks = dict(line.split(":\t") for line in status.read().splitlines() if "Sig" in line)
    return bool(int(masks["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


async def test_an_address_that_is_taken_is_one_line(environment: Environment) -> None:
    async with serving(environment) as (_, line):
        taken = environment | {"HEADGATE_HEALTH_LISTEN_ADDRESS": line["address"]}
        code, out, err = await finish(await start(taken, "serve"))

    assert (code, out) == (2, "")
    assert f"toy: cannot listen on {line['address']}" in err
    assert "Traceback" not in err


async def test_a_schema_that_is_not_there_is_one_line(fresh_database: str) -> None:
    code, out, err = await finish(await start(environment_of(fresh_database), "serve"))

    assert (code, out) == (1, "")
    assert err == "toy: schema toy lacks 0001_pre_toys.sql: run migrate first\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"SERVICE_TOKEN": "short"}, "SERVICE_TOKEN: set at least 32 ASCII characters"),
        ({"SERVICE_TOKENN": "x"}, "did you mean HEADGATE_HEALTH_SERVICE_TOKEN?"),
        ({"LISTEN_ADDRESS": "0.0.0.0:1"}, "LISTEN_ADDRESS is not loopback"),
        ({"DRAIN_SECONDS": "soon"}, "HEADGATE_HEALTH_DRAIN_SECONDS: "),
    ],
)
async def test_a_wrong_configuration_is_one_line_without_secrets(
    change: Environment, line: str
) -> None:
    wrong = environment_of(NOWHERE) | {
        f"HEADGATE_HEALTH_{name}": value for name, value in change.items()
    }
    code, out, err = await finish(await start(wrong, "check-config"))

    assert (code, out) == (2, "")
    assert err.startswith("toy: HEADGATE_HEALTH_")
    assert line in err
    assert err.count("\n") == 1
    assert "password" not in err
