"""RPCs of one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import grpc.aio
import typer

from headgate import channel
from headgate.api.gateway.v1 import (
    admin_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
    staff_pb2_grpc,
)
from headgate.cli.config import Access, Options, find_access
from headgate.failures import parse_failure
from headgate.retries import repeat

if TYPE_CHECKING:
    from headgate.api.gateway.v1.admin_pb2_grpc import AdminServiceAsyncStub
    from headgate.api.gateway.v1.staff_pb2_grpc import StaffServiceAsyncStub


class _Page(Protocol):
    next_page_token: str

    def MergeFrom(self, other: Any, /) -> None: ...  # noqa: N802 - protobuf's name


class _PageRequest(Protocol):
    page_size: int
    page_token: str


Q = TypeVar("Q")
R = TypeVar("R")
P = TypeVar("P", bound=_Page)
L = TypeVar("L", bound=_PageRequest)

_PAGE_SIZE_MAX: Final = 1_000
# Where the audit log finds why, if a request has no place for it.
REASON_METADATA: Final = "headgate-reason-bin"


class Session:
    """Asks the gateway, and repeats while nobody answers. Every method raises RpcError.

    Each method connects anew: a command asks once or twice in its life.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._metadata: tuple[tuple[str, str | bytes], ...] = (
            channel.authorization(access.key) if access.key else ()
        )
        if access.reason:
            self._metadata += ((REASON_METADATA, access.reason.encode()),)

    def ask(
        self,
        pick: Callable[[AdminServiceAsyncStub], Callable[..., Awaitable[R]]],
        request: object,
        *,
        repeatable: bool = True,
    ) -> R:
        """Returns the answer of the admin RPC that `pick` chooses."""
        service = admin_pb2_grpc.AdminServiceStub
        return self.ask_at(service, pick, request, repeatable=repeatable)

    def ask_at(
        self,
        service: Callable[[grpc.aio.Channel], Any],
        pick: Callable[[Any], Callable[..., Awaitable[R]]],
        request: object,
        *,
        repeatable: bool = True,
    ) -> R:
        """Returns the answer of the RPC that `pick` chooses from another of staff's services."""

        async def work(opened: grpc.aio.Channel) -> R:
            return await self._call(pick(service(opened)), request, repeatable=repeatable)

        return self._run(work)

    def ask_staff(
        self,
        pick: Callable[[StaffServiceAsyncStub], Callable[..., Awaitable[R]]],
        request: object,
    ) -> R:
        """Returns the answer of the staff RPC that `pick` chooses; sent once, for most make
        something anew.
        """

        async def work(opened: grpc.aio.Channel) -> R:
            method = pick(staff_pb2_grpc.StaffServiceStub(opened))
            return await self._call(method, request, repeatable=False)

        return self._run(work)

    def collect(
        self,
        pick: Callable[[AdminServiceAsyncStub], Callable[..., Awaitable[P]]],
        request: _PageRequest,
    ) -> P:
        """Returns all pages of a list as one answer."""
        return self.collect_at(admin_pb2_grpc.AdminServiceStub, pick, request)

    def collect_at(
        self,
        service: Callable[[grpc.aio.Channel], Any],
        pick: Callable[[Any], Callable[..., Awaitable[P]]],
        request: _PageRequest,
    ) -> P:
        """Returns all pages of a list of another of staff's services as one answer."""
        pages: list[P] = []
        self._read_pages(service, pick, request, pages.append)
        whole = pages[0]
        for page in pages[1:]:
            whole.MergeFrom(page)
        whole.next_page_token = ""
        return whole

    def read_pages(
        self,
        pick: Callable[[AdminServiceAsyncStub], Callable[..., Awaitable[P]]],
        request: _PageRequest,
        take: Callable[[P], None],
    ) -> None:
        """Hands each page of a list on, for lists that are longer than a memory."""
        self._read_pages(admin_pb2_grpc.AdminServiceStub, pick, request, take)

    def _read_pages(
        self,
        service: Callable[[grpc.aio.Channel], Any],
        pick: Callable[[Any], Callable[..., Awaitable[P]]],
        request: _PageRequest,
        take: Callable[[P], None],
    ) -> None:
        async def work(opened: grpc.aio.Channel) -> None:
            method = pick(service(opened))
            request.page_size = _PAGE_SIZE_MAX
            while True:
                page = await self._call(method, request)
                take(page)
                request.page_token = page.next_page_token
                if not request.page_token:
                    return

        self._run(work)

    def stream_at(
        self,
        service: Callable[[grpc.aio.Channel], Any],
        pick: Callable[[Any], Callable[..., AsyncIterable[R]]],
        request: object,
        take: Callable[[R], None],
    ) -> None:
        """Hands each answer of a stream on. What takes its time has no deadline."""

        async def work(opened: grpc.aio.Channel) -> None:
            try:
                async for answer in pick(service(opened))(request, metadata=self._metadata):
                    take(answer)
            except grpc.aio.AioRpcError as error:
                raise parse_failure(error) from None

        self._run(work)

    def get_status(self) -> gateway_pb2.GetStatusResponse:
        """Returns whether calls pass, as one gateway knows it."""

        async def work(opened: grpc.aio.Channel) -> gateway_pb2.GetStatusResponse:
            method = gateway_pb2_grpc.GatewayServiceStub(opened).GetStatus
            return await self._call(method, gateway_pb2.GetStatusRequest())

        return self._run(work)

    def _run(self, work: Callable[[grpc.aio.Channel], Awaitable[R]]) -> R:
        async def main() -> R:
            access = self._access
            opened = channel.open_channel(access.target, tls=access.tls, insecure=access.insecure)
            async with opened:
                return await work(opened)

        return asyncio.run(main())

    async def _call(
        self, method: Callable[..., Awaitable[R]], request: object, *, repeatable: bool = True
    ) -> R:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._access.timeout_seconds

        async def attempt() -> R:
            try:
                return await method(
                    request, timeout=deadline - loop.time(), metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                raise parse_failure(error) from None

        return await repeat(attempt, deadline=deadline) if repeatable else await attempt()


def open_session(context: typer.Context, *, needs_key: bool = True) -> Session:
    """Returns the session that the command line's options describe. Raises WrongUse."""
    options: Options = context.obj
    return Session(find_access(options, needs_key=needs_key))
