"""Runs before everything else in a replica whose wall clock shall be wrong.

Python imports a module of this name at its start if its folder is on the path. The offset in
seconds is a double in the file that CLOCK_OFFSET_FILE names; it may change at any time. Monotonic
clocks stay right, as those of a machine with a wrong date do. So does gRPC's arithmetic of
deadlines: its core reads the machine's clock, and both halves must read the same one.
"""

from __future__ import annotations

import datetime
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc.aio import _utils as grpc_aio

_true_time_ns = time.time_ns
_True = datetime.datetime


def install(read_offset: Callable[[], float]) -> None:
    """Makes this process's wall clock differ from the machine's by what `read_offset` returns."""

    def skewed_time_ns() -> int:
        return _true_time_ns() + int(read_offset() * 1e9)

    def skewed_time() -> float:
        return skewed_time_ns() / 1e9

    for module in (cygrpc, grpc_aio):
        vars(module)["time"] = SimpleNamespace(time=time.time)
    time.time_ns = skewed_time_ns
    time.time = skewed_time
    datetime.datetime = skewed_datetime(read_offset)  # type: ignore[misc]


def skewed_datetime(read_offset: Callable[[], float]) -> Any:
    """A `datetime` whose now is wrong; everything else about it is right."""

    class _Kind(type):
        # Instants that C code makes are plain ones.
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, _True)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, _True)

    def skewed_now(tz: datetime.tzinfo | None = None) -> Any:
        return _True.fromtimestamp(_true_time_ns() / 1e9 + read_offset(), tz)

    class Skewed(_True, metaclass=_Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return skewed_now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            return skewed_now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return skewed_now()

    return Skewed


def _install_from_file(path: Path) -> None:
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    install(lambda: float(struct.unpack("d", view[:8])[0]))


if "CLOCK_OFFSET_FILE" in os.environ:
    _install_from_file(Path(os.environ["CLOCK_OFFSET_FILE"]))
