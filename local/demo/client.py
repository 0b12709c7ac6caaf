"""The SDK's client with a tap on its channel."""

from __future__ import annotations

from typing import Final, cast

import grpc.aio

import headgate
from headgate.channel import open_channel
from local.demo.journal import Journal
from local.demo.tally import Tally
from local.demo.tap import Tap

# Long enough to sit out the restart of a killed service.
ADMISSION_SECONDS_MAX: Final = 20.0
REPORT_SECONDS_MAX: Final = 30.0


class TappedClient(headgate.Client):
    """A client of one process and event loop, whose traffic is written to a journal."""

    def __init__(self, target: str, *, api_key: str, journal: Journal, tally: Tally) -> None:
        def open_tapped() -> grpc.aio.Channel:
            # The stubs use no more of a channel than the tap has.
            tap = Tap(open_channel(target, insecure=True), journal, tally)
            return cast("grpc.aio.Channel", tap)

        super().__init__(
            target,
            api_key=api_key,
            insecure=True,
            admission_timeout_seconds=ADMISSION_SECONDS_MAX,
            report_timeout_seconds=REPORT_SECONDS_MAX,
            open_channel=open_tapped,
        )
