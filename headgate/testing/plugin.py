"""The fixtures that pytest finds by itself once the SDK is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headgate.config import MODE_VARIABLE, Mode
from headgate.decorator import forget_default_clients
from headgate.testing.gateway import FakeGateway
from headgate.testing.process import installed, make_permissive


@pytest.fixture
def headgate_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """A fake gateway of this test's own: every client that is made meanwhile speaks to it.

    `headgate_gateway.client()` and `.sync_client()` make some.
    """
    monkeypatch.setenv(MODE_VARIABLE, Mode.FAKE.value)
    with installed(make_permissive()) as fake:
        forget_default_clients()
        yield fake
        forget_default_clients()
