from __future__ import annotations

import signal

pytest_plugins = ("tests.postgres",)


def pytest_configure() -> None:
    # A shell starts a job in the background deaf to Ctrl-C, which some tests send.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
