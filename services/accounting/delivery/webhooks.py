"""Webhooks: signed POSTs of JSON, as Standard Webhooks has them.

Redirects are not followed: a receiver that moved has to be set anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpcore2

from services.accounting.delivery.attempts import DeliveryError, Message
from services.accounting.delivery.guard import GuardedBackend
from services.accounting.domain.addresses import Network
from services.accounting.domain.signatures import sign

# From the look-up of the name to the status line. A receiver that drips is cut off too.
TIMEOUT_SECONDS: Final = 10.0
URL_LENGTH_MAX: Final = 2_048
_GONE: Final = 410
_SECONDS_MAX: Final = 86_400 * 7


class Webhooks:
    """Sends events to webhooks."""

    def __init__(
        self, allowed: Collection[Network], *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._allowed = tuple(allowed)
        self._timeout_seconds = timeout_seconds

    def check_url(self, url: str) -> str | None:
        """Returns what is wrong with a URL; None: nothing. Its addresses are checked later."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "must be a URL such as https://hooks.example.com/headgate"
        if parts.scheme == "http" and not self._allowed:
            return "must begin with https: signatures don't hide what is in it"
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            return "must be a URL such as https://hooks.example.com/headgate"
        if parts.username is not None or parts.fragment:
            return "must have no user and no fragment: signatures prove who sends"
        if not (url.isascii() and url.isprintable() and " " not in url):
            return "must be ASCII without spaces; encode the rest"
        return None

    async def send(self, url: str, secrets: Sequence[str], message: Message) -> None:
        """Sends one event; returns when the receiver took it. Raises DeliveryError."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, retry_after = await self._post(url, secrets, message)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_seconds:g} s") from None
        except httpcore2.TimeoutException:
            raise DeliveryError("it did not answer in time") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise DeliveryError(f"no connection: {type(error).__name__}") from None
        if 200 <= status < 300:  # noqa: PLR2004 - the class of statuses that mean success
            return
        if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
            raise DeliveryError(f"answered {status}: redirects are not followed; set its address")
        raise DeliveryError(
            f"answered {status}", final=status == _GONE, retry_after=_parse_retry(retry_after)
        )

    async def _post(self, url: str, secrets: Sequence[str], message: Message) -> tuple[int, bytes]:
        body = render(message)
        timestamp = int(time.time())
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": "headgate",
            "webhook-id": message.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                secrets, message_id=message.event_id, timestamp=timestamp, body=body
            ),
        }
        is_encrypted = urlsplit(url).scheme == "https"
        # A connection of its own, closed behind it: each is checked, none outlives its check.
        async with (
            httpcore2.AsyncConnectionPool(
                network_backend=GuardedBackend(self._allowed, public=is_encrypted)
            ) as pool,
            # Nothing of the body is read: what it says is the receiver's affair.
            pool.stream("POST", url, headers=headers, content=body) as response,
        ):
            found = [value for name, value in response.headers if name.lower() == b"retry-after"]
            return response.status, found[0] if found else b""


def render(message: Message) -> bytes:
    """Renders an event as webhooks carry it."""
    fields = {
        "type": message.type,
        "timestamp": message.create_time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
        "version": message.type_version,
        "severity": message.severity,
        "org": message.org,
        "subject": message.subject,
        "title": message.title,
        "alert_id": message.alert_id,
        "data": json.loads(message.data),
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _parse_retry(value: bytes) -> dt.timedelta | None:
    """Returns the wait that a receiver asks for. Dates are as good as nothing said."""
    text = value.decode("ascii", "replace").strip()
    if not (text.isdigit() and text.isascii() and len(text) < 8):  # noqa: PLR2004 - months
        return None
    return dt.timedelta(seconds=min(int(text), _SECONDS_MAX))
