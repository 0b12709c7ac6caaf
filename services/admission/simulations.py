"""Tries proposed limits on accounting's log. Reads only; no counter is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias

from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import simulation_pb2
from services.admission import wire_simulation
from services.admission.domain.bindings import LimitSet
from services.admission.domain.limits import Limit
from services.admission.domain.simulation import Simulation
from services.admission.records import Records
from services.admission.wire_simulation import Trial

DENIALS_MAX: Final = 10_000
# A replay of months takes its time; whoever waits sees its progress.
TIMEOUT_SECONDS: Final = 3_600.0

# The RPC of accounting.
ReplayUsage: TypeAlias = Callable[..., Any]


class Simulations:
    """Runs trials."""

    def __init__(self, *, replay_usage: ReplayUsage, records: Records) -> None:
        self._replay_usage = replay_usage
        self._records = records

    async def run(self, trial: Trial) -> AsyncIterator[pb.SimulateLimitsResponse]:
        """Yields progress, and last the report."""
        simulation = Simulation(LimitSet(version=0, limits=trial.limits))
        total_count = 0
        request = accounting_pb2.ReplayUsageRequest(org=trial.org)
        request.start_time.FromDatetime(trial.start)
        request.end_time.FromDatetime(trial.end)
        async for part in self._replay_usage(request, timeout=TIMEOUT_SECONDS):
            simulation.replay(wire_simulation.parse_past(each) for each in part.calls)
            total_count = part.total_count
            yield pb.SimulateLimitsResponse(
                replayed_count=simulation.replayed_count, total_count=total_count
            )
        yield pb.SimulateLimitsResponse(
            replayed_count=simulation.replayed_count,
            total_count=simulation.replayed_count,
            report=await self._report(trial, simulation),
        )

    async def _report(
        self, trial: Trial, simulation: Simulation
    ) -> simulation_pb2.SimulationReport:
        denied, asked = await self._records.sum_violations(trial.start, trial.end, org=trial.org)
        ranked = sorted(
            simulation.denials.items(), key=lambda item: (-item[1].avoided_nanos, item[0])
        )
        return simulation_pb2.SimulationReport(
            denied_count=simulation.total.count,
            avoided_nanos=simulation.total.avoided_nanos,
            denials=[
                simulation_pb2.SimulatedDenials(
                    limit_id=limit_id,
                    org=org,
                    denied_count=each.count,
                    avoided_nanos=each.avoided_nanos,
                )
                for (limit_id, org), each in ranked[:DENIALS_MAX]
            ],
            unlogged_denied_count=denied,
            unlogged_requested_nanos=asked,
            notes=_notes(trial.limits, denied=denied),
        )


def _notes(limits: tuple[Limit, ...], *, denied: int) -> list[str]:
    notes = [
        "Calls are held as they were held then; each had the one candidate that it went to.",
        "A call that would have been denied might have been tried again later, or elsewhere.",
    ]
    if any(limit.is_temporary for limit in limits):
        notes.append("Limits with a validity apply within it only.")
    if denied:
        notes.append(
            "Calls that were denied then are not in the log and take no part: what is said of them"
            " is an estimate from the violations on record."
        )
    return notes
