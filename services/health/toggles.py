"""The toggles' use cases: set, delete, list. Guardrails are refused here, too."""

from __future__ import annotations

from collections.abc import Mapping

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

        def decide(known: Mapping[str, Toggle]) -> Toggle:
            living = sum(not each.deleted for each in known.values())
            if toggle_id not in known and living >= toggles.TOGGLE_COUNT_MAX:
                raise toggles.TooManyError
            found = known.get(toggle_id)
            wanted = toggles.put(found, toggle_id, place, enabled=enabled, description=description)
            if wanted != found:
                toggles.expect(found, expected_version)
            return wanted

        return await self._change(toggle_id, place, decide, note)

    async def delete(
        self,
        toggle_id: str,
        place: Place,
        *,
        note: ChangeNote,
        expected_version: int | None = None,
    ) -> Toggle:
        """Deletes a rule, or a whole toggle. Raises as `put`."""

        def decide(known: Mapping[str, Toggle]) -> Toggle:
            wanted = toggles.delete(known.get(toggle_id), place)
            toggles.expect(known.get(toggle_id), expected_version)
            return wanted

        return await self._change(toggle_id, place, decide, note)

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
        self, toggle_id: str, place: Place, decide: toggles.Decide, note: ChangeNote
    ) -> Toggle:
        try:
            after = await self._store.change_toggle(toggle_id, place, decide, note=note)
        except toggles.UnknownToggleError:
            raise NotFound("toggle", toggle_id) from None
        except toggles.LockedToggleError:
            message = f"{toggle_id} is a guardrail: only a migration changes it"
            raise ToggleLocked(toggle_id, message) from None
        except toggles.ShippedToggleError:
            message = f"{toggle_id} came with Headgate and stays; switch it off instead"
            raise ToggleLocked(toggle_id, message) from None
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
        log.warning("toggle_changed", toggle=toggle_id, place=place, actor=note.actor)
        return after
