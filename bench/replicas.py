"""What a second admission costs on one hot org: batches go to one of two replicas, or to both."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from typing import Final

import grpc

from bench import backend
from bench.load import Sample, run_closed
from bench.system import Endpoints
from headgate.api.admission.v1 import admission_pb2, admission_pb2_grpc
from headgate.api.common.v1 import call_pb2
from headgate.channel import authorization
from headgate.ids import IdMaker

CALLER_COUNT: Final = 8
# How many of the two replicas get batches, by the name of the shape.
SHAPES: Final = {"admissions-1": 1, "admissions-2": 2}
CANDIDATE: Final = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")


class Reserver:
    """Sends batches of one org's calls to replicas of admission, in turn, as gateways do."""

    def __init__(self, channels: list[grpc.aio.Channel], token: str) -> None:
        stubs = [admission_pb2_grpc.AdmissionServiceStub(channel) for channel in channels]
        self._stubs = itertools.cycle(stubs)
        self._metadata = authorization(token)
        self._ids = IdMaker()

    async def reserve(self) -> int:
        """Holds a batch of calls."""
        request = admission_pb2.ReserveRequest()
        for _ in range(backend.BATCH_SIZE):
            call = request.reservations.add(
                org=backend.HOT_ORG,
                call_id=self._ids.make(),
                fingerprint=b"\0" * 32,
                operation=backend.OPERATION,
                price_version=1,
            )
            call.hold_duration.seconds = 600
            call.candidates.add(candidate=CANDIDATE, cost_nanos=1_000_000, token_count=700)
        stub = next(self._stubs)
        answer = await stub.Reserve(
            request, metadata=self._metadata, timeout=backend.DEADLINE_SECONDS
        )
        for result in answer.results:
            if not result.HasField("hold"):
                raise backend.UnexpectedAnswerError(str(result))
        return backend.BATCH_SIZE


async def measure(
    endpoints: Endpoints, names: list[str], *, seconds: float, rounds: int
) -> dict[str, Sample]:
    """Runs the shapes in turns on a system with two admissions."""
    async with AsyncExitStack() as stack:

        async def connect(address: str) -> grpc.aio.Channel:
            options = [("grpc.enable_http_proxy", 0)]
            channel = grpc.aio.insecure_channel(address, options=options)
            return await stack.enter_async_context(channel)

        await backend.prepare(await connect(endpoints.gateway), endpoints.admin_key)
        channels = [await connect(address) for address in endpoints.content["admissions"]]
        samples = {name: Sample() for name in names}
        for _ in range(rounds):
            for name, sample in samples.items():
                reserver = Reserver(channels[: SHAPES[name]], endpoints.service_token)
                sample.add(
                    await run_closed(
                        reserver.reserve,
                        endpoints.processor_seconds,
                        callers=CALLER_COUNT,
                        seconds=seconds / rounds,
                    )
                )
        return samples
