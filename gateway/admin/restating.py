"""Staff's requests to a service that has the same messages: what is said twice is said alike.

The public contract never imports an inner one, so each has messages of its own. A test holds that
every field of the one is in the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from gateway.admin.audit import Audit, describe
from gateway.peers import ACCOUNTING, call, call_once
from gateway.servicer import principal

# In the place of an audit entry's id, where nothing is changed.
TRIAL: Final = "trial"

M = TypeVar("M", bound=Message)


def restate(said: Message, kind: type[M], **more: Any) -> M:
    """Returns a message of another kind with the fields of this one, and more."""
    restated = kind(**more)
    _copy(said, restated)
    return restated


def _copy(said: Message, into: Message) -> None:
    for field, value in said.ListFields():
        place = getattr(into, field.name)
        if field.message_type is None:
            if field.is_repeated:
                place.extend(value)
            else:
                setattr(into, field.name, value)
        elif field.message_type is into.DESCRIPTOR.fields_by_name[field.name].message_type:
            place.MergeFrom(value)
        else:
            # A part that each contract has for itself; `MergeFrom` would take it for empty.
            for each in value if field.is_repeated else (value,):
                _copy(each, place.add() if field.is_repeated else place)


class Restating:
    """Passes staff's requests on to a service, the changes with an audit entry."""

    def __init__(self, audit: Audit, peer: str = ACCOUNTING) -> None:
        self._audit = audit
        self._peer = peer

    async def read(
        self,
        method: Callable[..., Awaitable[Message]],
        request: Message,
        kind: type[Message],
        answer: type[M],
    ) -> M:
        """Asks for what changes nothing."""
        return restate(await call(self._peer, method, restate(request, kind)), answer)

    async def change(
        self,
        target: str,
        method: Callable[..., Awaitable[Message]],
        request: Message,
        kind: type[Message],
        answer: type[M],
        *,
        shown: Message | None = None,
        repeatable: bool = True,
        is_trial: bool = False,
    ) -> M:
        """Asks for a change. `shown` is what the audit entry keeps, if the request has secrets.

        The service gets the actor and the entry's id where its message has a place for them. A
        trial changes nothing and leaves no entry.
        """
        who = principal()
        places = kind.DESCRIPTOR.fields_by_name
        action = kind.DESCRIPTOR.name.removesuffix("Request")
        actor = {"actor": who.actor} if "actor" in places else {}

        async def send(audit_id: str) -> Message:
            more = actor | ({"audit_id": audit_id} if "audit_id" in places else {})
            wanted = restate(request, kind, **more)
            return await (call if repeatable else call_once)(self._peer, method, wanted)

        if is_trial:
            return restate(await send(TRIAL), answer)
        intent = describe(who, action, target, request if shown is None else shown)
        return restate(await self._audit.change_elsewhere(intent, send), answer)
