"""The audit log: who wanted to change what, written before the change, and what became of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from chassis import server
from chassis.errors import ServiceError, translate
from gateway.principals import Principal
from gateway.store import AuditWriter, Store, Transaction

TARGET_LENGTH_MAX: Final = 256
REASON_LENGTH_MAX: Final = 1_024
# Where callers say why, if the request has no place for it.
REASON_METADATA: Final = "headgate-reason-bin"
# A message this large is refused later; its words are not worth keeping.
REQUEST_BYTES_MAX: Final = 65_536
# After these nobody knows whether the change happened.
_UNKNOWN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)

Result = TypeVar("Result")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One change that somebody asked for."""

    actor: str
    # The method, such as "PutLimit".
    action: str
    # Such as "limit/acme-monthly".
    target: str
    # Without secrets.
    request_json: str
    # Empty: they did not say why.
    reason: str = ""


def describe(who: Principal, action: str, target: str, request: Message) -> Intent:
    """Returns the intent of a request. Its texts may be wrong yet: they are made storable."""
    facts: dict[str, object]
    if request.ByteSize() > REQUEST_BYTES_MAX:
        facts = {"omitted_byte_count": request.ByteSize()}
    else:
        facts = _read_facts(request)
    return Intent(
        actor=who.actor,
        action=action,
        target=_printable(target, TARGET_LENGTH_MAX),
        request_json=json.dumps(facts, ensure_ascii=True),
        reason=_printable(_read_reason(request), REASON_LENGTH_MAX),
    )


def _read_reason(request: Message) -> str:
    """Returns why somebody asks: in the request's own words, else in those beside it."""
    own = getattr(request, "reason", "")
    if isinstance(own, str) and own:
        return own
    beside: object = server.metadata().get(REASON_METADATA, b"")
    return beside.decode("utf-8", "replace") if isinstance(beside, bytes) else str(beside)


def _printable(text: str, length_max: int) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:length_max])


def _read_facts(request: Message) -> dict[str, object]:
    """Returns the request without what the contract marks as secret."""
    shown = type(request)()
    shown.CopyFrom(request)
    for field in request.DESCRIPTOR.fields:
        if field.GetOptions().debug_redact:
            shown.ClearField(field.name)
    try:
        return json_format.MessageToDict(shown, preserving_proto_field_name=True)
    except (json_format.Error, ValueError):
        # A time or a duration that is none.
        return {"text": text_format.MessageToString(shown, as_one_line=True)}


class Audit:
    """Makes changes, each with its entry. What cannot be written down is not changed.

    A change that began ends even if its caller goes away: half of it would be nobody's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: set[asyncio.Task[object]] = set()

    async def change_own(
        self, intent: Intent, work: Callable[[Transaction], Awaitable[Result]]
    ) -> Result:
        """Changes what is the gateway's, in one transaction with the entry and its outcome.

        Raises ServiceError; then nothing changed, and the entry says so.
        """
        return await self._finish(self._change_own(intent, work))

    async def change_elsewhere(
        self,
        intent: Intent,
        send: Callable[[str], Awaitable[Result]],
        *,
        is_urgent: bool = False,
    ) -> Result:
        """Asks a service for a change: entry first, then `send` with its id, then the outcome.

        An answer that was lost leaves the entry open. `is_urgent`: the caller hears that it is
        done while the outcome is being written. Raises ServiceError.
        """
        return await self._finish(self._change_elsewhere(intent, send, is_urgent=is_urgent))

    async def close(self) -> None:
        """Returns when the changes under way have ended, and their outcomes are written."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _finish(self, change: Coroutine[Any, Any, Result]) -> Result:
        return await asyncio.shield(self._begin(change))

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _change_own(
        self, intent: Intent, work: Callable[[Transaction], Awaitable[Result]]
    ) -> Result:
        try:
            async with self._store.transaction() as transaction:
                audit_id = await _insert(transaction, intent)
                result = await work(transaction)
                await transaction.insert_audit_outcome(audit_id, error=None)
                return result
        except ServiceError as error:
            async with self._store.transaction() as transaction:
                audit_id = await _insert(transaction, intent)
                await transaction.insert_audit_outcome(audit_id, error=error.reason)
            raise

    async def _change_elsewhere(
        self, intent: Intent, send: Callable[[str], Awaitable[Result]], *, is_urgent: bool
    ) -> Result:
        audit_id = await _insert(self._store, intent)
        try:
            result = await send(audit_id)
        except ServiceError as error:
            if error.code not in _UNKNOWN:
                await self._close_entry(audit_id, error=f"{error.reason}: {error.message}")
            raise
        closing = self._begin(self._close_entry(audit_id, error=None))
        if not is_urgent:
            await closing
        return result

    async def _close_entry(self, audit_id: str, *, error: str | None) -> None:
        try:
            await self._store.insert_audit_outcome(audit_id, error=error)
        except Exception as failure:  # noqa: BLE001 - the change stands, its entry stays open
            log.warning("audit_entry_open", audit_id=audit_id, reason=translate(failure).reason)


async def _insert(writer: AuditWriter, intent: Intent) -> str:
    return await writer.insert_audit_entry(
        actor=intent.actor,
        action=intent.action,
        target=intent.target,
        request_json=intent.request_json,
        reason=intent.reason,
    )
