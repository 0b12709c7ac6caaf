"""Messages for people, by the `apprise` package: e-mail, chat, and whatever else it knows."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from services.accounting.delivery.attempts import DeliveryError, Message
from services.accounting.delivery.courier import EXIT_FORBIDDEN, EXIT_NO_URL
from services.accounting.domain.addresses import Network

# A courier has to start Python and load the package first.
TIMEOUT_SECONDS: Final = 30.0
# Couriers at once: each takes some 40 MB and a tenth of a second of a processor.
COURIER_COUNT_MAX: Final = 2
# Where the courier is imported from.
_ROOT: Final = Path(__file__).resolve().parents[3]
# They show messages on the machine they run on, which is nobody's.
_LOCAL_SCHEMES: Final = frozenset(
    {"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
)


class Notifications:
    """Sends events as messages for people."""

    def __init__(
        self, allowed: Collection[Network], *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._allowed = [str(each) for each in allowed]
        self._timeout_seconds = timeout_seconds
        self._places = asyncio.Semaphore(COURIER_COUNT_MAX)

    async def check_url(self, url: str) -> str | None:
        """Returns what is wrong with a URL; None: nothing."""
        scheme, mark, _ = url.partition("://")
        if not mark:
            return "must be a URL of apprise, such as mailto://user:password@example.com"
        if scheme.lower() in _LOCAL_SCHEMES:
            return f"{scheme} shows messages on the server's own screen; choose another"
        code = await self._run({"url": url, "allowed": []})
        return "apprise knows no such URL" if code else None

    async def send(self, url: str, message: Message) -> None:
        """Sends one event; returns when it was taken. Raises DeliveryError."""
        facts = json.loads(message.data)
        lines = [message.title, "", *(f"{name}: {_show(value)}" for name, value in facts.items())]
        lines += ["", f"org: {message.org or 'platform'}", f"event: {message.event_id}"]
        if message.alert_id:
            lines.append(f"alert: {message.alert_id}")
        code = await self._run(
            {
                "url": url,
                "allowed": self._allowed,
                "title": f"[{message.severity}] {message.type}",
                "body": "\n".join(lines),
            }
        )
        if code == EXIT_FORBIDDEN:
            raise DeliveryError("its address is not public and not allowed by the operator")
        if code == EXIT_NO_URL:
            raise DeliveryError("apprise knows no such URL", final=True)
        if code:
            raise DeliveryError("the service did not take the message")

    async def _run(self, wanted: dict[str, object]) -> int:
        async with self._places:
            courier = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.accounting.delivery.courier",
                stdin=asyncio.subprocess.PIPE,
                # Plug-ins write URLs, and these hold secrets.
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=_ROOT,
                # Ours holds secrets, and a proxy would undo the guard.
                env={},
            )
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await courier.communicate(json.dumps(wanted).encode())
            except TimeoutError:
                raise DeliveryError(f"not sent within {self._timeout_seconds:g} s") from None
            finally:
                if courier.returncode is None:
                    courier.kill()
                    await courier.wait()
            return courier.returncode or 0


def _show(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
