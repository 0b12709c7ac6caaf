"""An event loop in a thread of its own, and the way into it for threads that have none.

One for the process, made when it is first used and anew after a fork. What waits for it at the
process's exit is delivered first, for a bounded time.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from headgate import forks
from headgate.errors import CallMisused, ClientClosed

T = TypeVar("T")
Make = Callable[[], Coroutine[Any, Any, T]]
Closer = Callable[[], Coroutine[Any, Any, None]]

# How long a process may be kept from its end by what it has still to report.
EXIT_SECONDS_MAX: Final = 10.0
# How long a fork waits for the same.
FORK_SECONDS_MAX: Final = 5.0
# How long an interrupted caller waits for what it has begun to end.
INTERRUPTED_SECONDS_MAX: Final = 3.0


class Interrupted(BaseException):
    """Carries an exception through an event loop that would not survive it, Ctrl-C for one."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original


@dataclass(frozen=True, slots=True)
class _Errand:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    answer: asyncio.Future[Any]


class _Caller:
    """A thread that waits for the loop, and meanwhile does what the loop asks it for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Errands, and at last the task that has ended.
        self._queue: queue.SimpleQueue[_Errand | asyncio.Task[Any]] = queue.SimpleQueue()
        self._task: asyncio.Task[Any] | None = None

    def wait_for(self, make: Make[T]) -> T:
        context = contextvars.copy_context()
        context.run(_caller.set, self)
        try:
            self._loop.call_soon_threadsafe(self._begin, make, context=context)
            task = self._serve()
        except BaseException:
            self._give_up()
            raise
        try:
            result: T = task.result()
        except Interrupted as interrupted:
            raise interrupted.original from None
        except asyncio.CancelledError:
            raise ClientClosed("the background loop was stopped") from None
        return result

    def ask(self, errand: _Errand) -> None:
        self._queue.put(errand)

    def _begin(self, make: Make[Any]) -> None:
        self._task = self._loop.create_task(make())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        # Marks it as seen: an interrupted caller does not look at it.
        _ = task.cancelled() or task.exception()
        self._queue.put(task)

    def _serve(self) -> asyncio.Task[Any]:
        while True:
            item = self._queue.get()
            if isinstance(item, asyncio.Task):
                return item
            self._do(item)

    def _do(self, errand: _Errand) -> None:
        try:
            result = errand.function(*errand.args)
        except BaseException as error:  # noqa: BLE001 - raised where the errand came from
            # Neither may be raised in a task.
            unfit = isinstance(error, StopIteration) or not isinstance(error, Exception)
            failure = Interrupted(error) if unfit else error
            self._loop.call_soon_threadsafe(_fail, errand.answer, failure)
        else:
            self._loop.call_soon_threadsafe(_resolve, errand.answer, result)

    def _give_up(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)
        with contextlib.suppress(queue.Empty):
            while not isinstance(self._queue.get(timeout=INTERRUPTED_SECONDS_MAX), asyncio.Task):
                pass

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_caller: contextvars.ContextVar[_Caller] = contextvars.ContextVar("headgate_caller")


async def here(function: Callable[..., T], *args: Any) -> T:
    """Returns what the function returns in the thread that waits for this task."""
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    _caller.get().ask(_Errand(function, args, answer))
    return await answer


class Portal:
    """Runs coroutines for threads that have no event loop."""

    def __init__(self) -> None:
        self.begin_child()

    def begin_child(self) -> None:
        """Starts anew: a child has neither the thread nor whoever held the lock."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closers: set[Closer] = set()
        self._owned: set[asyncio.Task[None]] = set()
        self._active = 0

    def run(self, make: Make[T], *, closer: Closer) -> T:
        """Returns what the coroutine returns; its exceptions are raised here.

        The portal's end awaits `closer`. Raises CallMisused in the portal's own thread.
        """
        if threading.current_thread() is self._thread:
            raise CallMisused("a blocking call would keep its own event loop from running")
        with self._entered(closer) as loop:
            return _Caller(loop).wait_for(make)

    def start(self, make: Make[None], *, closer: Closer) -> None:
        """Starts a coroutine. Raises RuntimeError at the interpreter's end."""
        with self._entered(closer) as loop:
            loop.call_soon_threadsafe(self._own, make)

    def forget(self, closer: Closer) -> None:
        """Does not await this closer any more."""
        with self._lock:
            self._closers.discard(closer)

    def close(self, timeout_seconds: float = EXIT_SECONDS_MAX) -> None:
        """Delivers what is under way, for a bounded time, and ends the thread."""
        with self._lock:
            loop, thread, closers = self._loop, self._thread, self._closers
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._finish(closers, timeout_seconds), loop)
        closing.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        thread.join(timeout_seconds + INTERRUPTED_SECONDS_MAX)

    def pause(self) -> None:
        """Closes if nobody waits in it, for a fork."""
        if not self._active:
            self.close(FORK_SECONDS_MAX)

    @contextlib.contextmanager
    def _entered(self, closer: Closer) -> Iterator[asyncio.AbstractEventLoop]:
        with self._lock:
            loop = self._loop or self._open()
            self._closers.add(closer)
            self._active += 1
        try:
            yield loop
        finally:
            with self._lock:
                self._active -= 1

    def _open(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run_forever, args=(loop,), name="headgate", daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread
        _flush_at_exit(self)
        return loop

    def _own(self, make: Make[None]) -> None:
        task = asyncio.get_running_loop().create_task(make())
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    async def _finish(self, closers: set[Closer], timeout_seconds: float) -> None:
        ends = {asyncio.ensure_future(each()) for each in list(closers)} | self._owned
        if ends:
            await asyncio.wait(ends, timeout=timeout_seconds)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _flush_at_exit(portal: Portal) -> None:
    """Delivers at the end of the process, of one that multiprocessing has forked, too."""
    atexit.unregister(portal.close)
    atexit.register(portal.close)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:
        multiprocessing.Finalize(None, portal.close, exitpriority=1)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


_shared: Final = Portal()
forks.at_fork(before=_shared.pause, after_in_child=_shared.begin_child)


def shared() -> Portal:
    """Returns the process's own."""
    return _shared
