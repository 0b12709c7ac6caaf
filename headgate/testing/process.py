"""The fake gateway that the clients of a process share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from headgate.testing.gateway import FakeGateway


class _Process:
    """What the process's clients speak to under HEADGATE_MODE=fake."""

    gateway: FakeGateway | None = None


def process_gateway() -> FakeGateway:
    """Returns the fake that clients speak to under HEADGATE_MODE=fake, one for the process.

    Every key fits it, and it has a route for every operation.
    """
    if _Process.gateway is None:
        _Process.gateway = make_permissive()
    return _Process.gateway


def make_permissive() -> FakeGateway:
    """Returns a fake that every key fits and that has a route for every operation."""
    fake = FakeGateway(permissive=True)
    fake.ledger.default_route = fake.ledger.routes["summarize"]
    return fake


@contextlib.contextmanager
def installed(fake: FakeGateway) -> Iterator[FakeGateway]:
    """Makes a fake the process's own for a while."""
    before, _Process.gateway = _Process.gateway, fake
    try:
        yield fake
    finally:
        _Process.gateway = before
