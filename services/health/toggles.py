"""The toggles' use cases: set, delete, list. Guardrails are refused here, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
import structlog

from chassis.errors import FailedPrecondition, NotFound, ServiceError
from services.health.domain import toggles
from services.health.domain.kills import ChangeNote
from services.health.domain.toggles import Place, Toggle
from services.health.toggle_store import ToggleChange, ToggleStore

log = structlog.get_logger()


class ToggleLocked(ServiceError):  # noqa: N818 - named like the errors of the chassis
    """A guardrail, or a toggle that came with the schema, can't be changed so."""

    def __init__(self, toggle_id: str, message: str) -> None:
        super().__init__(
            message,
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="TOGGLE_LOCKED",
            metadata={"toggle": toggle_id},
        )


class TooManyToggles(ServiceError):  # noqa: N818 - named like the errors of the chassis
    """There are as many toggles, or rules of one, as there may be."""

    def __init__(self) -> None:
        super().__init__(
            f"there are {toggles.TOGGLE_COUNT_MAX:,} toggles, or rules of this one; delete some",
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="TOO_MANY_TOGGLES",
        )


class Toggles:
    """Sets and lists toggles, over rows that all replicas share."""

    def __init__(self, store: ToggleStore) -> None:
        self._store = store

    async def put(
        self,
        toggle_id: str,
        place: Place,
        *,
        enabled: bool,
        description: str,
        note: ChangeNote,
        expected_version: int | None = None,
    ) -> Toggle:
        """Sets a toggle's default, or a rule of it. Raises NotFound, ToggleLocked.

        Raises FailedPrecondition unless it has the version that is expected.
        """

        def decide(known: Mapping[str, Toggle]) -> dict[str, Toggle]:
            living = sum(not each.deleted for each in known.values())
            if toggle_id not in known and living >= toggles.TOGGLE_COUNT_MAX:
                raise toggles.TooManyError
            found = known.get(toggle_id)
            wanted = toggles.put(found, toggle_id, place, enabled=enabled, description=description)
            if wanted != found:
                toggles.expect(found, expected_version)
            return {toggle_id: wanted}

        after = await self._change(decide, note, toggle_id=toggle_id)
        return after[toggle_id]

    async def delete(
        self,
        toggle_id: str,
        place: Place,
        *,
        note: ChangeNote,
        expected_version: int | None = None,
    ) -> Toggle:
        """Deletes a rule, or a whole toggle. Raises as `put`."""

        def decide(known: Mapping[str, Toggle]) -> dict[str, Toggle]:
            wanted = toggles.delete(known.get(toggle_id), place)
            toggles.expect(known.get(toggle_id), expected_version)
            return {toggle_id: wanted}

        after = await self._change(decide, note, toggle_id=toggle_id)
        return after[toggle_id]

    async def apply(
        self, wanted: Sequence[Toggle], deleted: Sequence[str], *, note: ChangeNote, keep: bool
    ) -> None:
        """Makes toggles what they are wanted to be, all or none. Raises ToggleLocked.

        Unless `keep`, nothing is changed.
        """
        await self._change(lambda known: toggles.apply(known, wanted, deleted), note, keep=keep)

    async def list_all(self) -> list[Toggle]:
        """Lists toggles in order of their names."""
        known = await self._store.read_toggles()
        return [each for _, each in sorted(known.items()) if not each.deleted]

    async def list_changes(
        self, *, toggle_id: str, before: int, count_max: int
    ) -> list[ToggleChange]:
        """Lists changes, newest first, from below an id. Empty toggle: of all."""
        return await self._store.list_toggle_changes(
            toggle_id=toggle_id, before=before, count_max=count_max
        )

    async def check_guardrails(self) -> None:
        """Raises RuntimeError if a guardrail is not what it must be."""
        broken = toggles.broken_guardrails(await self._store.read_toggles())
        if broken:
            raise RuntimeError(f"guardrails are not in place: {', '.join(broken)}")

    async def _change(
        self, decide: toggles.Decide, note: ChangeNote, *, toggle_id: str = "", keep: bool = True
    ) -> Mapping[str, Toggle]:
        try:
            after = await self._store.change_toggles(decide, note=note, keep=keep)
        except toggles.UnknownToggleError:
            raise NotFound("toggle", toggle_id) from None
        except toggles.LockedToggleError as error:
            message = f"{error.toggle_id} is a guardrail: only a migration changes it"
            raise ToggleLocked(error.toggle_id, message) from None
        except toggles.ShippedToggleError as error:
            message = f"{error.toggle_id} came with Headgate and stays; switch it off instead"
            raise ToggleLocked(error.toggle_id, message) from None
        except toggles.ChangedToggleError as error:
            raise FailedPrecondition(
                f"the toggle {toggle_id} has version {error.version} by now: "
                "look at what was changed, then write again",
                "TOGGLE_CHANGED",
                toggle=toggle_id,
                version=str(error.version),
            ) from None
        except toggles.TooManyError:
            raise TooManyToggles from None
        if keep:
            log.warning("toggles_changed", toggles=sorted(after), actor=note.actor)
        return after
