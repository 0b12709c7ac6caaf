from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ("tests.postgres",)

# Those that servers, loops and supervisors take over when a test runs them in this process.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def pytest_configure() -> None:
    # A shell starts a job in the background deaf to Ctrl-C, which some tests send.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Undoes what a test did to the signals: a closed uvloop leaves its handlers behind."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


# How long an example takes says more of the machine than of the code.
settings.register_profile("headgate", deadline=None)
settings.load_profile("headgate")
