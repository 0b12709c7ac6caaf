"""Ports of a local system: a block of their own, the same at every start if it is still free."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from local.errors import LocalError
from local.layout import HOST

# Blocks start every hundred ports: 7400, 7500, … The last one ends before the metrics' first.
BASE_FIRST: Final = 7400
BLOCK_SIZE: Final = 100
BLOCK_COUNT: Final = 20
# Port of a block that its holder listens on, so that no other takes the block before the
# processes listen.
CLAIM_OFFSET: Final = 99


@dataclass(frozen=True, slots=True)
class Block:
    """A block of ports that no other local system uses while this one lives."""

    base: int
    _claim: socket.socket

    def close(self) -> None:
        """Gives the block back."""
        self._claim.close()


def claim_block(offsets: Collection[int], *, remembered: int | None) -> Block:
    """Claims the first block in which these ports are free, the remembered one before others.

    Raises `LocalError` if there is none.
    """
    for base in _bases(remembered):
        claim = _listen(base + CLAIM_OFFSET)
        if claim is None:
            continue
        if all(is_free(base + offset) for offset in offsets):
            return Block(base, claim)
        claim.close()
    last = BASE_FIRST + BLOCK_SIZE * BLOCK_COUNT - 1
    raise LocalError(
        f"ports {BASE_FIRST} to {last} are all in use: stop another local system"
        " with `make down` in its folder"
    )


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    probe = _bind(port)
    if probe is None:
        return False
    probe.close()
    return True


def _bases(remembered: int | None) -> Iterator[int]:
    bases = [BASE_FIRST + BLOCK_SIZE * index for index in range(BLOCK_COUNT)]
    if remembered in bases:
        yield remembered
    yield from (base for base in bases if base != remembered)


def _listen(port: int) -> socket.socket | None:
    claim = _bind(port)
    if claim is None:
        return None
    try:
        claim.listen()
    except OSError:
        # Another one bound it in the same moment and listens.
        claim.close()
        return None
    return claim


def _bind(port: int) -> socket.socket | None:
    probe = socket.socket()
    # Connections of a server that ended a moment ago do not count.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
    except OSError:
        probe.close()
        return None
    return probe
