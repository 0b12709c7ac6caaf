"""A decorator that governs a function: it is called once its call is admitted, with the call.

    @headgate.governed("summarize", input_bytes=lambda text: len(text.encode()))
    async def summarize(call: headgate.Call, text: str) -> str: ...

    await summarize("a long text")

The first parameter, `call`, is filled in; methods have it after `self`. Plain functions,
coroutine functions and generators of both kinds are governed alike: a candidate that fails in a
way that another may survive is replaced, generators until they have yielded something.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar, overload

from headgate.call import Call
from headgate.client import Client, Session
from headgate.errors import AllCandidatesFailed, Denied
from headgate.options import CallOptions, OperationOptions
from headgate.sync import SyncCall, SyncClient, SyncSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from headgate.attempt import Attempt

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

# An amount, or a function of the governed function's own arguments that returns one.
Amount = int | Callable[..., int]

_CALL: Final = "call"
# A function's call is its first parameter, or a method's second.
_POSITION_MAX: Final = 1


class Governed:
    """Makes governed functions; what `governed` returns."""

    def __init__(
        self,
        operation: str,
        *,
        client: Session | SyncSession | None,
        amounts: dict[str, Amount],
        falls_back: bool,
        options: OperationOptions,
    ) -> None:
        self._operation = operation
        self._client = client
        self._amounts = amounts
        self._falls_back = falls_back
        self._options = options

    @overload
    def __call__(self, function: Callable[Concatenate[Call, P], R]) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[SyncCall, P], R]) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, Call, P], R]
    ) -> Callable[Concatenate[S, P], R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, SyncCall, P], R]
    ) -> Callable[Concatenate[S, P], R]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the governed function. Raises TypeError if it has no parameter `call`."""
        names = list(inspect.signature(function).parameters)
        if _CALL not in names[: _POSITION_MAX + 1]:
            raise TypeError(f"{function.__qualname__} needs a first parameter named {_CALL!r}")
        position = names.index(_CALL)
        govern = self._choose(function)

        def governed(*args: Any, **kwargs: Any) -> Any:
            def body(call: Attempt) -> Any:
                return function(*args[:position], call, *args[position:], **kwargs)

            return govern(body, self._measure(args[position:], kwargs))

        return _as(function, governed)

    def _choose(self, function: Callable[..., Any]) -> Callable[[Any, CallOptions], Any]:
        if inspect.isasyncgenfunction(function):
            return self._stream
        if inspect.iscoroutinefunction(function):
            return self._run
        if inspect.isgeneratorfunction(function):
            return self._stream_blocking
        return self._run_blocking

    def _measure(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallOptions:
        counts = {
            name: amount(*args, **kwargs) if callable(amount) else amount
            for name, amount in self._amounts.items()
        }
        return {**self._options, **counts}  # type: ignore[typeddict-item] # names of its own

    async def _run(self, body: Callable[[Any], Awaitable[Any]], options: CallOptions) -> Any:
        try:
            return await self._asker().call(self._operation, **options).run(body)
        except (Denied, AllCandidatesFailed) as refused:
            return self._fall_back(refused)

    def _run_blocking(self, body: Callable[[Any], Any], options: CallOptions) -> Any:
        try:
            return self._blocking_asker().call(self._operation, **options).run(body)
        except (Denied, AllCandidatesFailed) as refused:
            return self._fall_back(refused)

    async def _stream(
        self, body: Callable[[Any], AsyncIterator[Any]], options: CallOptions
    ) -> AsyncGenerator[Any, None]:
        items = self._asker().call(self._operation, **options).stream(body)
        try:
            async for item in items:
                yield item
        except (Denied, AllCandidatesFailed) as refused:
            yield self._fall_back(refused)
        finally:
            await items.aclose()

    def _stream_blocking(
        self, body: Callable[[Any], Iterator[Any]], options: CallOptions
    ) -> Iterator[Any]:
        items = self._blocking_asker().call(self._operation, **options).stream(body)
        try:
            yield from items
        except (Denied, AllCandidatesFailed) as refused:
            yield self._fall_back(refused)

    def _fall_back(self, refused: Denied | AllCandidatesFailed) -> str:
        if not self._falls_back or not refused.fallback_text:
            raise refused
        return refused.fallback_text

    def _asker(self) -> Session:
        if self._client is None:
            return default_client()
        if isinstance(self._client, Session):
            return self._client
        raise TypeError("an asynchronous function needs a headgate.Client or one of its sessions")

    def _blocking_asker(self) -> SyncSession:
        if self._client is None:
            return default_sync_client()
        if isinstance(self._client, SyncSession):
            return self._client
        raise TypeError("a plain function needs a headgate.SyncClient or one of its sessions")


def _as(function: Callable[..., Any], governed: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `governed` as what `function` is in the eyes of `inspect`; frameworks look there."""

    async def answer(*args: Any, **kwargs: Any) -> Any:
        return await governed(*args, **kwargs)

    async def stream(*args: Any, **kwargs: Any) -> Any:
        async with aclosing(governed(*args, **kwargs)) as items:
            async for item in items:
                yield item

    def iterate(*args: Any, **kwargs: Any) -> Any:
        yield from governed(*args, **kwargs)

    made: Callable[..., Any] = governed
    if inspect.iscoroutinefunction(function):
        made = answer
    elif inspect.isasyncgenfunction(function):
        made = stream
    elif inspect.isgeneratorfunction(function):
        made = iterate
    return functools.wraps(function)(made)


def governed(
    operation: str,
    *,
    client: Session | SyncSession | None = None,
    input_tokens: Amount = 0,
    input_bytes: Amount = 0,
    on_refused: Literal["raise", "fallback"] = "raise",
    **options: Unpack[OperationOptions],
) -> Governed:
    """Returns a decorator; see the module. Without `client`, that of the environment is used.

    With on_refused="fallback" a function that is denied, or whose candidates all fail, returns the
    route's fallback text, and a generator yields it.
    """
    return Governed(
        operation,
        client=client,
        amounts={"input_tokens": input_tokens, "input_bytes": input_bytes},
        falls_back=on_refused == "fallback",
        options=options,
    )


@functools.cache
def default_client() -> Client:
    """Returns the process's own client, made from HEADGATE_* variables when first used."""
    return Client()


@functools.cache
def default_sync_client() -> SyncClient:
    """Returns the process's own blocking client, made as `default_client` is."""
    return SyncClient()


def forget_default_clients() -> None:
    """Lets the next use make them anew, from what the environment then says."""
    default_client.cache_clear()
    default_sync_client.cache_clear()
