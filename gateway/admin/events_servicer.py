"""The staff's service about events as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc

from chassis import paging, server
from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from gateway.access import WATCH_EVENTS, check_reach
from gateway.auth import KeyAuthenticator
from gateway.domain.event_filters import EventFilter
from gateway.event_watch import EventWatch, Place
from headgate.api.common.v1 import event_pb2
from headgate.api.gateway.v1 import event_admin_pb2 as pb
from headgate.api.gateway.v1 import event_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]

ORG_LENGTH_MAX: Final = 128
TYPE_COUNT_MAX: Final = 32
TYPE_LENGTH_MAX: Final = 64
_TYPE: Final = re.compile(r"[a-z]+(?:\.[a-z]+)*")
_SEVERITIES: Final = frozenset(event_pb2.Severity.values())
_LIST: Final = "events"


class EventAdminServicer(pb_grpc.EventAdminServiceServicer):
    """Serves staff, each as far and as long as `access` lets them."""

    def __init__(self, events: EventWatch, authenticator: KeyAuthenticator) -> None:
        self._events = events
        self._authenticator = authenticator

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        wanted, after = _parse(request)
        shown = server.metadata()

        async def look() -> None:
            who = await self._authenticator.look_again(shown, WATCH_EVENTS)
            check_reach(who, WATCH_EVENTS, request)

        async with aclosing(self._events.watch(wanted, after, look)) as told:
            async for event, place in told:
                token = paging.encode_token(place, list=_LIST)
                yield pb.WatchEventsResponse(event=event, resume_token=token)


def _parse(request: pb.WatchEventsRequest) -> tuple[EventFilter, Place | None]:
    """Returns what is wanted, and after which place; None: from now on. Raises InvalidArgument."""
    checks = Checks()
    checks.text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX)
    if len(request.types) > TYPE_COUNT_MAX:
        checks.violate("types", f"send at most {TYPE_COUNT_MAX}")
    for place, each in enumerate(request.types[:TYPE_COUNT_MAX]):
        checks.text(f"types[{place}]", each, max_length=TYPE_LENGTH_MAX, pattern=_TYPE)
    if request.severity_min:
        checks.choice("severity_min", request.severity_min, allowed=_SEVERITIES)
    checks.raise_if_any()
    wanted = EventFilter(
        org=request.org if request.HasField("org") else None,
        types=tuple(request.types),
        severity_min=request.severity_min,
    )
    return wanted, _parse_token(request.resume_token)


def _parse_token(token: str) -> Place | None:
    try:
        cursor = paging.decode_token(token, list=_LIST)
    except InvalidArgument:
        cursor = ()
    if cursor is None:
        return None
    numbers = [each for each in cursor if isinstance(each, int) and 0 <= each < 2**63]
    if len(cursor) == len(numbers) == 2:  # noqa: PLR2004 - a transaction and a number
        return numbers[0], numbers[1]
    violation = FieldViolation("resume_token", "is not one of ours; start again without it")
    raise InvalidArgument([violation])
