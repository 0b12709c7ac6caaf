"""The fixtures that pytest finds by itself once the SDK is installed."""

from __future__ import annotations

import pytest

from headgate.testing.gateway import FakeGateway


@pytest.fixture
def headgate_gateway() -> FakeGateway:
    """A fake gateway of this test's own; `headgate_gateway.client()` speaks to it."""
    return FakeGateway()
