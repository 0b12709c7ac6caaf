"""The whole system, started, used and stopped as a person does it: by commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc.aio
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

import headgate
from local import config
from local.accounts import make_folder

CHECKOUT: Final = Path(__file__).resolve().parents[2]
READY_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 60.0
COMMAND_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05


@contextlib.contextmanager
def state_folder() -> Iterator[Path]:
    """A state folder of the test's own that an unprivileged Postgres can reach."""
    scratch = config.places().scratch
    make_folder(scratch, mode=0o755)
    folder = Path(tempfile.mkdtemp(prefix="headgate-e2e-", dir=scratch))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class System:
    """What `local up` started."""

    state: Path
    process: asyncio.subprocess.Process
    endpoints: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Every gateway, for clients that balance."""
        return "ipv4:" + ",".join(self.endpoints["gateways"])

    def client(self, org: str = "demo-acme") -> headgate.Client:
        """A client with the org's own key."""
        return headgate.Client(self.target, api_key=self.endpoints["api_keys"][org])

    def reload(self) -> None:
        """Reads the endpoints again: a child that was restarted has another process id."""
        self.endpoints = json.loads((self.state / "endpoints.json").read_text())

    def pids(self) -> dict[str, int]:
        """Process ids of all children by their names, as they are now."""
        self.reload()
        return dict(self.endpoints["pids"])

    async def wait_for_successor(self, name: str, pid: int) -> int:
        """Returns the child's new process id when it runs in place of `pid`."""
        async with asyncio.timeout(READY_SECONDS_MAX):
            while (now := self.pids().get(name)) in (None, pid):  # noqa: ASYNC110 - it is a file
                await asyncio.sleep(POLL_SECONDS)
        assert now is not None
        return now

    async def operate(self, *words: str) -> Any:
        """What `headgate … --json` prints. Raises AssertionError with its message if it fails."""
        code, output, errors = await run_command(
            "-m", "headgate", "--state-dir", str(self.state), *words, "--json"
        )
        assert code == 0, errors
        return json.loads(output)

    async def stop(self) -> int:
        """Asks it to end, as Ctrl-C does, and returns its exit code."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_SECONDS_MAX):
            return await self.process.wait()


async def run_command(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Runs Python with these words to its end; returns exit code, output and messages."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=CHECKOUT,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMMAND_SECONDS_MAX):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def running(state: Path, *, gateways: int = 1, admissions: int = 1) -> AsyncIterator[System]:
    """Starts the system and waits until it is ready; ends it at the end, whatever happened."""
    with (state / "up.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local", "up", "--state", str(state)),
            *("--gateways", str(gateways), "--admissions", str(admissions)),
            cwd=CHECKOUT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    system = System(state=state, process=process)
    try:
        await _wait_until_ready(system)
        yield system
    finally:
        await _end(process)


async def _wait_until_ready(system: System) -> None:
    async with asyncio.timeout(READY_SECONDS_MAX):
        while not _is_described(system):
            log = system.state / "up.log"
            assert system.process.returncode is None, log.read_text()[-4000:]
            await asyncio.sleep(POLL_SECONDS)
        system.reload()
        for address in system.endpoints["gateways"]:
            await wait_until_serving(address)


def _is_described(system: System) -> bool:
    """Whether the endpoints are those of this run: an older one's may still lie there."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        system.reload()
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(system.process.pid)
            family = {
                process.pid for process in [supervisor, *supervisor.children(recursive=True)]
            }
            return set(system.endpoints.get("pids", {}).values()) <= family
    return False


async def wait_until_serving(address: str) -> None:
    """Returns when the server says that it is ready."""
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service="readiness")):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
