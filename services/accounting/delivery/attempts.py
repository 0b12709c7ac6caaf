"""How one attempt to deliver ended."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

ERROR_LENGTH_MAX: Final = 300


class DeliveryError(Exception):
    """A channel did not take an event. One line that holds no secret."""

    def __init__(
        self, message: str, *, final: bool = False, retry_after: dt.timedelta | None = None
    ) -> None:
        """`final`: another attempt can't succeed. `retry_after`: what the receiver asked for."""
        printable = "".join(each if each.isprintable() else "?" for each in message)
        super().__init__(printable[:ERROR_LENGTH_MAX])
        self.final = final
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as it is sent, whatever the channel."""

    event_id: str
    type: str
    type_version: int
    severity: str
    org: str
    subject: str
    title: str
    # As JSON.
    data: str
    create_time: dt.datetime
    # 0: none.
    alert_id: int
