"""What a fork may inherit: clients, but no connection, no thread and no event loop.

gRPC can't be used in a child whose parent had a connection open when it forked: it would hang or
abort. So connections are counted, and such a child is told.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable

from headgate.errors import CallMisused

_open: weakref.WeakSet[object] = weakref.WeakSet()
_before: list[Callable[[], None]] = []
_after_in_child: list[Callable[[], None]] = []
_used = False
_inherited = False


def note_open(connection: object) -> None:
    """Notes a connection that opens. Raises CallMisused if this process can't have any."""
    global _used  # noqa: PLW0603 - it is the process that forks
    if _inherited:
        raise CallMisused(
            "this process was forked while its parent was connected to Headgate: fork before the "
            "first call, close the client before the fork, or use multiprocessing's 'spawn'"
        )
    _used = True
    _open.add(connection)


def note_closed(connection: object) -> None:
    """Notes that a connection has been closed."""
    _open.discard(connection)


def at_fork(*, before: Callable[[], None], after_in_child: Callable[[], None]) -> None:
    """Adds what a fork has to do, on both sides of it."""
    _before.append(before)
    _after_in_child.append(after_in_child)


def _prepare() -> None:
    for each in _before:
        each()
    if _used and not _open:
        # A channel lets go of gRPC's thread only when it is collected.
        gc.collect()


def _begin_child() -> None:
    global _used, _inherited  # noqa: PLW0603 - it is the process that forks
    _inherited = _inherited or bool(_open)
    _used = False
    _open.clear()
    for each in _after_in_child:
        each()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare, after_in_child=_begin_child)
