"""Makes the clients: two faces of one governor, for each HTTP library."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from headgate import portals
from headgate.client import Session
from headgate.decorator import default_client, default_sync_client
from headgate.options import CallOptions, OperationOptions
from headgate.sync import SyncSession
from headgate.transports.governor import Governor
from headgate.transports.providers import Directory, Provider
from headgate.transports.repetition import repeating
from headgate.transports.sender import Sender
from headgate.transports.terms import OnRefused, OnUnknown, Terms

if TYPE_CHECKING:
    import httpx2
    from typing_extensions import Unpack


def governed_async_client(
    operation: str,
    *,
    client: Session | None = None,
    providers: Mapping[str, Provider | str] | None = None,
    on_refused: OnRefused = "raise",
    on_unknown: OnUnknown = "refuse",
    rewrite_model: bool = True,
    library: Any = None,
    http_options: Mapping[str, Any] | None = None,
    **options: Unpack[OperationOptions],
) -> httpx2.AsyncClient:
    """Returns an asynchronous HTTP client for a provider's SDK, which governs each request.

    `client` is a `headgate.Client` or a session of one; without it, that of the environment is
    used. `options` are said of all calls; `headgate.governing` changes them for some.

    A request goes to the candidate that was admitted, under that model's name. Candidates of other
    providers are asked at the base URL that `providers` gives, if it is of the same protocol; each
    provider sees only its own credentials. With rewrite_model=False only candidates of the
    request's own model are asked.

    A call that can't go raises Denied, NotServed or another HeadgateError out of the SDK's method;
    with on_refused="fallback" the route's fallback text is the answer, where answers are texts. If
    all candidates failed, the SDK gets the last one's own error. What is not governed and may
    cost, such as a batch, is refused; on_unknown="pass" lets it pass.

    `library` is the module httpx2 or httpx; by default the newer one that is installed.
    `http_options` are for its client, which reaches the providers: proxies, certificates, limits.
    """
    session = client or default_client()
    if not isinstance(session, Session):
        raise TypeError("an asynchronous client needs a headgate.Client or one of its sessions")
    http = library or _find_library()
    terms = Terms(
        operation=operation,
        options=cast("CallOptions", options),
        on_refused=on_refused,
        on_unknown=on_unknown,
        rewrite_model=rewrite_model,
    )
    governor = _govern(session, http, providers, terms, http_options)
    transport = _make_type(http, "AsyncGovernedTransport", _AsyncTransport)(governor)
    made: httpx2.AsyncClient = http.AsyncClient(transport=transport, follow_redirects=True)
    return made


def governed_client(
    operation: str,
    *,
    client: SyncSession | None = None,
    providers: Mapping[str, Provider | str] | None = None,
    on_refused: OnRefused = "raise",
    on_unknown: OnUnknown = "refuse",
    rewrite_model: bool = True,
    library: Any = None,
    http_options: Mapping[str, Any] | None = None,
    **options: Unpack[OperationOptions],
) -> httpx2.Client:
    """Returns an HTTP client that blocks; see `governed_async_client`.

    `client` is a `headgate.SyncClient` or a session of one.
    """
    session = client or default_sync_client()
    if not isinstance(session, SyncSession):
        raise TypeError("a blocking client needs a headgate.SyncClient or one of its sessions")
    http = library or _find_library()
    terms = Terms(
        operation=operation,
        options=cast("CallOptions", options),
        on_refused=on_refused,
        on_unknown=on_unknown,
        rewrite_model=rewrite_model,
    )
    governor = _govern(session.session, http, providers, terms, http_options)
    run = partial(portals.shared().run, closer=session.session.desk.disconnect)
    transport = _make_type(http, "GovernedTransport", _Transport)(http, governor, run)
    made: httpx2.Client = http.Client(transport=transport, follow_redirects=True)
    return made


class _AsyncTransport:
    """The face for those who await."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    async def handle_async_request(self, request: Any) -> Any:
        await request.aread()
        with repeating(request) as repetition:
            return await self._governor.handle(request, repetition)

    async def aclose(self) -> None:
        await self._governor.aclose()


class _Transport:
    """The face for those who block: `run` runs what they wait for."""

    def __init__(self, http: Any, governor: Governor, run: Callable[..., Any]) -> None:
        self._http = http
        self._governor = governor
        self._run = run

    def handle_request(self, request: Any) -> Any:
        request.read()
        with repeating(request) as repetition:
            answer = self._run(partial(self._governor.handle, request, repetition))
        # What has been read needs nothing more.
        if not answer.is_closed:
            kind = _make_type(self._http, "GovernedSyncStream", _Stream)
            answer.stream = kind(answer.stream, self._run)
        return answer

    def close(self) -> None:
        self._run(self._governor.aclose)


class _Stream:
    """A stream for those who block."""

    def __init__(self, stream: Any, run: Callable[..., Any]) -> None:
        self._stream = stream
        self._run = run

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._stream)
        try:
            while (chunk := self._run(partial(_next, chunks))) is not None:
                yield chunk
        finally:
            # Else it would be closed whenever it is collected, beside whoever closes the stream.
            self._run(partial(_close, chunks))

    def close(self) -> None:
        self._run(self._stream.aclose)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _close(chunks: Any) -> None:
    if hasattr(chunks, "aclose"):
        await chunks.aclose()


def _govern(
    session: Session,
    http: Any,
    providers: Mapping[str, Provider | str] | None,
    terms: Terms,
    http_options: Mapping[str, Any] | None,
) -> Governor:
    return Governor(
        session,
        http=http,
        sender=Sender(http, http_options or {}),
        directory=Directory(providers or {}),
        terms=terms,
    )


@functools.cache
def _make_type(http: Any, name: str, face: type) -> Any:
    """Returns the face as the HTTP library wants it."""
    base = {
        _AsyncTransport: "AsyncBaseTransport",
        _Transport: "BaseTransport",
        _Stream: "SyncByteStream",
    }
    return type(name, (face, getattr(http, base[face])), {})


def _find_library() -> Any:
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")
