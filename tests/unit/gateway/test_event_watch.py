"""Watchers of events: none lost, none twice, whatever is kept and however slow they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from chassis.errors import Overloaded, PeerUnavailable, Unauthenticated
from gateway import event_watch
from gateway.domain.event_filters import EventFilter
from gateway.event_watch import EventWatch, Place
from headgate.api.accounting.v1 import events_pb2
from headgate.api.common.v1 import event_pb2

ALL = EventFilter()


class Feed:
    """Accounting's feed."""

    def __init__(self) -> None:
        self.events: list[events_pb2.FedEvent] = []
        self.is_down = False
        self.failed = asyncio.Event()

    def add(self, event_type: str = "kill.set", org: str = "", severity: int = 1) -> None:
        number = len(self.events) + 1
        event = event_pb2.Event(event_id=str(number), type=event_type, org=org)
        event.severity = event_pb2.Severity.ValueType(severity)
        cursor = events_pb2.EventCursor(transaction_id=number // 3, event_number=number)
        self.events.append(events_pb2.FedEvent(event=event, cursor=cursor))

    async def read(
        self, after: events_pb2.EventCursor | None, count: int
    ) -> events_pb2.ListEventFeedResponse:
        if self.is_down:
            self.failed.set()
            raise PeerUnavailable("accounting")
        if after is None:
            end = self.events[-1].cursor if self.events else events_pb2.EventCursor()
            return events_pb2.ListEventFeedResponse(next=end)
        page = [each for each in self.events if _key(each.cursor) > _key(after)][:count]
        return events_pb2.ListEventFeedResponse(
            events=page, next=page[-1].cursor if page else after
        )


def _key(cursor: events_pb2.EventCursor) -> tuple[int, int]:
    return cursor.transaction_id, cursor.event_number


@pytest.fixture
def feed() -> Feed:
    return Feed()


@asynccontextmanager
async def following(feed: Feed) -> AsyncIterator[EventWatch]:
    watch = EventWatch(feed.read)
    running = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        running.cancel()
        await asyncio.wait([running])


async def may() -> None:
    """Whoever watches may go on."""


async def take(
    watch: EventWatch, count: int, after: Place | None = None, wanted: EventFilter = ALL
) -> tuple[list[str], Place]:
    """Returns the ids of the next events, and the place after the last."""
    ids: list[str] = []
    place = (0, 0)
    async with asyncio.timeout(10), aclosing(watch.watch(wanted, after, may)) as told:
        while len(ids) < count:
            event, place = await anext(told)
            ids += [event.event_id] if event is not None else []
    return ids, place


async def test_a_watcher_goes_on_where_it_was_with_none_lost_and_none_twice(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "KEPT_COUNT_MAX", 4)
    monkeypatch.setattr(event_watch, "PAGE_SIZE", 3)
    for _ in range(20):
        feed.add()
    seen: list[str] = []
    place: Place = (0, 0)
    # Each time at another gateway, which has kept nothing, something, or all.
    for count in (1, 7, 2, 10):
        async with following(feed) as watch:
            ids, place = await take(watch, count, place)
            seen += ids

    assert seen == [str(number) for number in range(1, 21)]


async def test_from_now_on_means_what_comes_after(feed: Feed) -> None:
    feed.add()
    async with following(feed) as watch, aclosing(watch.watch(ALL, None, may)) as told:
        first = await anext(told)
        feed.add()
        second = await anext(told)

    assert first == (None, (0, 1))
    assert second[0] is not None
    assert second[0].event_id == "2"


async def test_only_what_is_wanted_is_told(feed: Feed) -> None:
    for event_type, org, severity in (
        ("cost.overrun", "acme", 2),
        ("costly", "acme", 3),
        ("cost.overrun", "globex", 3),
        ("cost.budget.warning", "acme", 1),
        ("cost", "acme", 2),
        ("kill.set", "", 3),
    ):
        feed.add(event_type, org, severity)
    async with following(feed) as watch:
        wanted = EventFilter(org="acme", types=("cost",), severity_min=2)
        some, _ = await take(watch, 2, (0, 0), wanted)
        platform, _ = await take(watch, 1, (0, 0), EventFilter(org=""))

    assert some == ["1", "5"]
    assert platform == ["6"]


async def test_a_feed_that_is_away_is_followed_again(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "RETRY_SECONDS", 0.01)
    async with following(feed) as watch, aclosing(watch.watch(ALL, None, may)) as told:
        await anext(told)
        feed.add()
        assert (await anext(told))[0] is not None
        feed.is_down = True
        await feed.failed.wait()
        feed.add()
        feed.is_down = False
        event, _ = await anext(told)

    assert event is not None
    assert event.event_id == "2"


async def test_who_may_not_watch_any_more_is_told_so(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "LOOK_SECONDS", 0.02)

    async def may_not() -> None:
        raise Unauthenticated("revoked")

    async with following(feed) as watch, aclosing(watch.watch(ALL, None, may_not)) as told:
        await anext(told)
        with pytest.raises(Unauthenticated):
            await anext(told)


async def test_signs_of_life_say_where_to_go_on(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(event_watch, "LOOK_SECONDS", 0.02)
    wanted = EventFilter(types=("kill",))
    async with following(feed) as watch, aclosing(watch.watch(wanted, None, may)) as told:
        await anext(told)
        feed.add("cost.overrun")
        place: Place = (0, 0)
        while place == (0, 0):
            event, place = await anext(told)

    # What is left out is not read again.
    assert (event, place) == (None, (0, 1))


async def test_there_is_a_bound_and_who_leaves_makes_room(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "WATCHER_COUNT_MAX", 1)
    async with following(feed) as watch:
        async with aclosing(watch.watch(ALL, None, may)) as told:
            await anext(told)
            with pytest.raises(Overloaded):
                await anext(watch.watch(ALL, None, may))
        async with aclosing(watch.watch(ALL, None, may)) as told:
            assert await anext(told) == (None, (0, 0))
