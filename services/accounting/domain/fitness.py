"""What health says is so: open breakers, refused credentials, and calls that are stopped. Alerts
until it is over.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.accounting.domain.event_types import Facts
from services.accounting.domain.events import Event

# A provider that stays broken is noticed again after this.
NOTICE_AGAIN: Final = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that health says is so, such as that a provider's breaker is open."""

    key: str
    # What tells one occurrence from the next: the epoch of a breaker.
    occurrence: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """An alert on such a fact that is not resolved."""

    key: str
    occurrence: str
    last_time: dt.datetime


def compare_facts(
    facts: Iterable[Fact], active: Iterable[Active], *, now: dt.datetime
) -> tuple[list[Fact], list[str]]:
    """Returns what to notice of what is so, and which alerts are over because it no longer is.

    What has an alert already is noticed again when it happens anew, or stays for long.
    """
    known = {each.key: each for each in active}
    found = {each.key: each for each in facts}
    news = [
        fact
        for key, fact in sorted(found.items())
        if key not in known
        or known[key].occurrence != fact.occurrence
        or now - known[key].last_time >= NOTICE_AGAIN
    ]
    return news, sorted(known.keys() - found.keys())


def open_breaker(provider: str, epoch: int, *, where: str = "", org: str = "") -> Fact:
    """Returns the fact of an open breaker; `where` names a part, such as "model/gpt-9", and `org`
    whose credential it is.
    """
    place = f"{provider}/{where}" if where else provider
    data: Facts = {"provider": provider, "part": where, "epoch": epoch}
    return Fact(
        key=f"breaker/{place}",
        occurrence=str(epoch),
        event=Event(
            type="breaker.opened",
            org=org,
            subject=f"provider/{place}",
            title=f"{place} is not called: its calls fail",
            data=data,
        ),
    )


def refused_credential(provider: str, credential: str) -> Fact:
    """Returns the fact of a credential that a provider refuses: an org's, or one of several."""
    place = f"{provider}/{credential}"
    return Fact(
        key=f"credential/{place}",
        occurrence="",
        event=Event(
            type="credential.refused",
            org=credential.partition("/")[0],
            subject=f"provider/{provider}/credential/{credential}",
            title=f"{provider} refuses the credential {credential}: its key, its rights or its "
            "quota",
            data={"provider": provider, "credential": credential},
        ),
    )


def kill_in_force(kill_id: str, *, reason: str, actor: str) -> Fact:
    """Returns the fact of calls that are stopped."""
    return Fact(
        key=f"kill/{kill_id}",
        occurrence="",
        event=Event(
            type="kill.set",
            org="",
            subject=f"kill/{kill_id}",
            title=f"Calls are stopped ({kill_id}): {reason}",
            data={"kill_id": kill_id, "reason": reason, "actor": actor},
        ),
    )


def describe_end(key: str, *, org: str) -> Event:
    """Returns the event that tells the end of what health had said."""
    kind, _, name = key.partition("/")
    if kind == "kill":
        return Event(
            type="kill.lifted",
            org="",
            subject=key,
            title=f"Calls pass again ({name})",
            data={"kill_id": name},
        )
    provider, _, part = name.partition("/")
    if kind == "credential":
        return Event(
            type="credential.accepted",
            org=org,
            subject=f"provider/{provider}/credential/{part}",
            title=f"{provider} accepts the credential {part} again, or nobody uses it any more",
            data={"provider": provider, "credential": part},
        )
    return Event(
        type="breaker.closed",
        org=org,
        subject=f"provider/{name}",
        title=f"{name} is called again",
        data={"provider": provider, "part": part},
    )
