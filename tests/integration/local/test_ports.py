from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from local import ports
from local.errors import LocalError
from local.layout import HOST
from local.ports import Block, claim_block, is_free


@contextlib.contextmanager
def claimed(offset: int = 1, remembered: int | None = None) -> Iterator[Block]:
    block = claim_block([offset], remembered=remembered)
    try:
        yield block
    finally:
        block.close()


def test_two_systems_get_different_blocks_before_either_listens() -> None:
    with claimed() as first, claimed() as second:
        bases = {first.base, second.base}

    assert len(bases) == 2


def test_a_block_given_back_is_the_same_at_the_next_start() -> None:
    with claimed() as other, claimed() as first:
        remembered = first.base
    assert remembered != other.base
    with claimed(remembered=remembered) as again:
        assert again.base == remembered


def test_a_block_with_a_port_in_use_is_passed_over() -> None:
    with claimed() as block:
        base = block.base
    with socket.create_server((HOST, base + 5)), claimed(offset=5, remembered=base) as other:
        assert not is_free(base + 5)
        assert other.base != base


def test_an_ended_connection_keeps_no_port() -> None:
    with claimed() as block:
        port = block.base + 6
        with socket.create_server((HOST, port)) as server:
            client = socket.create_connection((HOST, port))
            peer, _ = server.accept()
            # Who closes first keeps the connection in TIME_WAIT.
            peer.close()
            assert client.recv(1) == b""
            client.close()

        assert is_free(port)


def test_when_every_block_is_taken_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks that no system uses: others may be starting beside this test.
    monkeypatch.setattr(ports, "BASE_FIRST", 21_400)
    monkeypatch.setattr(ports, "BLOCK_COUNT", 2)
    with (
        claimed(),
        claimed(),
        pytest.raises(LocalError, match=r"21400 to 21599 are all in use.*make down"),
    ):
        claim_block([1], remembered=None)
