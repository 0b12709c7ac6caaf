"""The client that a backend keeps for as long as it runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Literal, TypeVar

import grpc.aio

from headgate import channel
from headgate.call import Call
from headgate.connection import Connection
from headgate.decisions import Candidate, Status
from headgate.errors import ClientClosed
from headgate.ids import IdMaker
from headgate.plan import Plan

T = TypeVar("T")

OnDenied = Literal["raise", "return"]

ADMISSION_TIMEOUT_SECONDS: Final = 5.0
REPORT_TIMEOUT_SECONDS: Final = 10.0

# One for the process: ids of all its clients grow.
_ids: Final = IdMaker()


class Client:
    """Asks Headgate before AI calls and reports after them.

    Connects when it is first used, so it may be made before a fork; a forked child makes a
    connection of its own, provided that its parent had not used any gRPC. Serves one event loop.
    `target` is the gateway's address, as gRPC writes it; without `tls`, this machine is reached
    in plain text and all others by TLS with the system's authorities. `org` is for keys that may
    act for several. `open_channel` replaces how a channel is made. Raises ValueError for what
    can't be a target or a key.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str,
        org: str = "",
        tls: channel.Tls | None = None,
        insecure: bool = False,
        admission_timeout_seconds: float = ADMISSION_TIMEOUT_SECONDS,
        report_timeout_seconds: float = REPORT_TIMEOUT_SECONDS,
        open_channel: Callable[[], grpc.aio.Channel] | None = None,
    ) -> None:
        channel.check_target(target, tls=tls, insecure=insecure)
        self._open_channel = open_channel or partial(
            channel.open_channel, target, tls=tls, insecure=insecure
        )
        self._metadata = channel.authorization(api_key)
        self._org = org
        self._admission_timeout_seconds = admission_timeout_seconds
        self._report_timeout_seconds = report_timeout_seconds
        self._connection: Connection | None = None
        self._closed = False

    def call(
        self,
        operation: str,
        *,
        input_tokens: int = 0,
        input_bytes: int = 0,
        max_output_tokens: int | None = None,
        org: str = "",
        labels: Mapping[str, str] | None = None,
        exclude: Sequence[Candidate] = (),
        call_id: str = "",
        parent_call_id: str = "",
        on_denied: OnDenied = "raise",
        timeout_seconds: float | None = None,
    ) -> Call:
        """Returns a call to enter with `async with`; nothing is asked before that.

        The greater of `input_tokens` and `input_bytes` bounds the input. Without
        `max_output_tokens` the operation's default holds: pass on `call.max_output_tokens`.
        Entering raises Denied, or with on_denied="return" leaves `call.admitted` false; Finished
        if `call_id` has ended; RpcError if there is no decision within `timeout_seconds`.
        """
        plan = Plan(
            operation=operation,
            org=org or self._org,
            call_id=call_id or _ids.make(),
            fresh_id=not call_id,
            parent_call_id=parent_call_id,
            excluded=tuple(exclude),
            input_tokens=input_tokens,
            input_bytes=input_bytes,
            max_output_tokens=max_output_tokens,
            labels=dict(labels or {}),
            raises_denied=on_denied == "raise",
            timeout_seconds=(
                self._admission_timeout_seconds if timeout_seconds is None else timeout_seconds
            ),
        )
        return Call(plan, connect=self._connect, make_id=_ids.make)

    async def run(
        self,
        operation: str,
        body: Callable[[Call], Awaitable[T]],
        *,
        input_tokens: int = 0,
        input_bytes: int = 0,
        max_output_tokens: int | None = None,
        org: str = "",
        labels: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> T:
        """Returns `await body(call)`, tried with one candidate after the other: see `Call.run`."""
        call = self.call(
            operation,
            input_tokens=input_tokens,
            input_bytes=input_bytes,
            max_output_tokens=max_output_tokens,
            org=org,
            labels=labels,
            timeout_seconds=timeout_seconds,
        )
        return await call.run(body)

    async def status(self) -> Status:
        """Returns whether calls pass, as one gateway knows it. Raises RpcError."""
        return await self._connect().get_status(timeout=self._admission_timeout_seconds)

    async def close(self) -> None:
        """Takes no more calls and returns when reports under way have ended.

        Each report is bounded by `report_timeout_seconds`. Calls whose block is still running
        can't report any more: end them first.
        """
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None and connection.process_id == os.getpid():
            await connection.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _connect(self) -> Connection:
        if self._closed:
            raise ClientClosed("the client is closed")
        connection = self._connection
        if connection is None or connection.is_foreign():
            connection = self._connection = Connection(
                self._open_channel(),
                metadata=self._metadata,
                report_seconds_max=self._report_timeout_seconds,
            )
        return connection
