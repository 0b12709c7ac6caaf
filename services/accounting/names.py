"""Ids of the names that rows of the usage log share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from chassis.database import Connection
from services.accounting.domain.usage import Entry, Report
from services.accounting.queries import QUERIES

# Callers and kinds that are remembered; beyond, everything is forgotten and asked for again.
_NAMES_MAX: Final = 100_000

# Operation, provider, model.
_Kind: TypeAlias = tuple[str, str, str]
# Org, API key, team, feature.
_Caller: TypeAlias = tuple[str, str, str, str]


class Names:
    """Knows the ids of kinds of calls and of callers; they never change.

    Belongs to one connection.
    """

    def __init__(self) -> None:
        self._kinds: dict[_Kind, int] = {}
        self._callers: dict[_Caller, int] = {}

    async def find(
        self, connection: Connection, entries: Sequence[Entry]
    ) -> tuple[list[int], list[int]]:
        """Returns the ids of the entries' kinds and callers, in order.

        New ones are written down, in a transaction of its own.
        """
        if len(self._kinds) + len(self._callers) > _NAMES_MAX:
            self._kinds.clear()
            self._callers.clear()
        kinds = [_kind(entry.report) for entry in entries]
        callers = [_caller(entry.report) for entry in entries]
        new = {
            (kind, caller)
            for kind, caller in zip(kinds, callers, strict=True)
            if kind not in self._kinds or caller not in self._callers
        }
        if new:
            await self._learn(connection, sorted(new))
        return [self._kinds[kind] for kind in kinds], [self._callers[each] for each in callers]

    async def _learn(self, connection: Connection, new: list[tuple[_Kind, _Caller]]) -> None:
        columns = zip(*((*kind, *caller) for kind, caller in new), strict=True)
        (row,) = await connection.fetch(QUERIES.name_calls.sql, *map(list, columns))
        self._kinds.update(zip((kind for kind, _ in new), row["kind_ids"], strict=True))
        self._callers.update(zip((caller for _, caller in new), row["caller_ids"], strict=True))


def _kind(report: Report) -> _Kind:
    return report.operation, report.provider, report.model


def _caller(report: Report) -> _Caller:
    return report.org, report.api_key_id, report.team, report.feature
