"""What a kind of policy is: how it is named, read, written and found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

M = TypeVar("M", bound=Message)


def _same(wanted: M, _known: M | None) -> M:
    return wanted


def _always(_message: Message) -> bool:
    return True


@dataclass(frozen=True)
class Kind(Generic[M]):
    """One section of a document."""

    # Of the section, and of the field of the request that applies it.
    name: str
    # Names a member among those of its kind.
    key: Callable[[M], str]
    # Takes a path and what stands there.
    read: Callable[[Reader, str, Any], M]
    # What a file says of it; what is so anyway is left out.
    write: Callable[[M], dict[str, Any]]
    # All that are in force.
    fetch: Callable[[Session], Iterable[M]]
    # Sets in the request that this one is to be deleted.
    delete: Callable[[Any, M], None]
    # Completes what a file says by what is in force, or None. Raises ValueError if it can't.
    complete: Callable[[M, M | None], M] = _same
    # What is sent of it; else it is sent as it is.
    send: Callable[[M], M] | None = None
    # What an export says; else as it is written.
    export: Callable[[M], dict[str, Any]] | None = None
    # Whether it may be deleted because no file names it.
    may_go: Callable[[M], bool] = _always
