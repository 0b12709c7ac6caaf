"""Sends one message by the `apprise` package, in a process of its own.

That package runs the code of a hundred services, blocks, resolves names by itself and follows
redirects. Here it may do so: the interpreter asks our hook before each connection, whoever makes
it, and whoever started the process ends it in time.

Standard input has one JSON object: url, allowed (networks), and title and body, or neither to only
check the URL. The exit code is 0 if the message was taken, 1 if it was not, 3 if the URL makes no
sense, 4 if an address was refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import Any, Final

from services.accounting.domain.addresses import Network, is_allowed, parse_network

EXIT_REFUSED: Final = 1
EXIT_NO_URL: Final = 3
EXIT_FORBIDDEN: Final = 4
# What a message has no business to do here.
_FORBIDDEN_EVENTS: Final = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
        "ctypes.dlopen",
    }
)
_CONNECTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class ForbiddenError(PermissionError):
    """The message wanted what it may not."""


class Guard:
    """What the interpreter asks before it does something that matters."""

    def __init__(self, allowed: Collection[Network]) -> None:
        self._allowed = allowed
        self.refused = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raises ForbiddenError. Whatever catches it, the connection is not made."""
        if event in _FORBIDDEN_EVENTS:
            self._refuse(event)
        if event in _CONNECTS:
            address = arguments[1]
            if not (isinstance(address, tuple) and is_allowed(str(address[0]), self._allowed)):
                self._refuse(event)

    def _refuse(self, event: str) -> None:
        self.refused = True
        raise ForbiddenError(event)


def main() -> int:
    """Sends what standard input says; returns the exit code."""
    wanted = json.load(sys.stdin)
    import apprise  # noqa: PLC0415 - before the hook: loading may do what sending may not

    guard = Guard([parse_network(each) for each in wanted["allowed"]])
    place = apprise.Apprise()
    if not place.add(wanted["url"]):
        return EXIT_NO_URL
    if "title" not in wanted:
        return 0
    sys.addaudithook(guard)
    try:
        taken = bool(
            place.notify(
                title=wanted["title"], body=wanted["body"], body_format=apprise.NotifyFormat.TEXT
            )
        )
    except Exception:  # noqa: BLE001 - plug-ins raise what they like; their words may hold secrets
        taken = False
    if taken:
        return 0
    return EXIT_FORBIDDEN if guard.refused else EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
