"""Applies a plan: one RPC for each service, which does all of it or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headgate.api.common.v1 import call_pb2, channel_pb2
from headgate.api.gateway.v1 import policy_admin_pb2 as pb
from headgate.api.gateway.v1.policy_admin_pb2_grpc import PolicyAdminServiceStub
from headgate.errors import RpcError

if TYPE_CHECKING:
    from headgate.cli.policies.plans import Extra, Plan, Write
    from headgate.cli.session import Session

_MEMBER: Final = re.compile(r"([a-z_]+)\[([0-9]+)\](.*)")


@dataclass(frozen=True)
class Step:
    """What one service has to do."""

    # What it is about, for people.
    names: Sequence[str]
    request: Any
    writes: Sequence[Write]
    extras: Sequence[Extra]
    _pick: Callable[[Any], Any]
    # A repetition would not tell the secrets of new webhooks.
    _repeatable: bool

    def run(self, session: Session, *, try_only: bool) -> Any:
        """Does it, or finds out whether it could be done. Raises RpcError."""
        self.request.validate_only = try_only
        return session.ask_at(
            PolicyAdminServiceStub,
            self._pick,
            self.request,
            repeatable=self._repeatable or try_only,
        )

    def complain(self, error: RpcError) -> list[str]:
        """Returns what a service finds wrong, with the places of the files."""
        if not error.violations:
            return [f"{', '.join(self.names)}: {error}"]
        return [self._locate(each.field, each.description) for each in error.violations]

    def _locate(self, path: str, problem: str) -> str:
        found = _MEMBER.match(path)
        writes = (
            []
            if found is None
            else [each for each in self.writes if each.member.kind.name == found[1]]
        )
        if found is None or int(found[2]) >= len(writes):
            return f"{path}: {problem}"
        return writes[int(found[2])].member.complain(found[3], problem)


@dataclass(frozen=True)
class _Service:
    kinds: tuple[str, ...]
    make: Callable[[], Any]
    pick: Callable[[Any], Any]
    repeatable: bool = True


# In this order: a route needs the prices of its models.
_SERVICES: Final = (
    _Service(
        ("prices", "channels"),
        pb.ApplyPricesRequest,
        lambda stub: stub.ApplyPrices,
        repeatable=False,
    ),
    _Service(("limits",), pb.ApplyLimitsRequest, lambda stub: stub.ApplyLimits),
    _Service(("toggles",), pb.ApplyTogglesRequest, lambda stub: stub.ApplyToggles),
    _Service(
        ("orgs", "templates", "routes"), pb.ApplyRoutesRequest, lambda stub: stub.ApplyRoutes
    ),
)


def make_steps(plan: Plan, *, prune: bool, reason: str) -> list[Step]:
    """Returns what each service has to do, in order; those with nothing to do are left out."""
    steps = []
    for service in _SERVICES:
        writes = [each for each in plan.writes if each.member.kind.name in service.kinds]
        extras = [
            each
            for each in plan.extras
            if prune and each.kind.name in service.kinds and each.kind.may_go(each.message)
        ]
        if writes or extras:
            request = _fill(service.make(), writes, extras, reason)
            step = Step(service.kinds, request, writes, extras, service.pick, service.repeatable)
            steps.append(step)
    _tell_prices(plan, steps)
    return steps


def secrets_of(answer: Any) -> Iterable[channel_pb2.ChannelSecret]:
    """Returns the secrets of new webhooks that an answer tells, once."""
    return answer.secrets if isinstance(answer, pb.ApplyPricesResponse) else ()


def _fill(request: Any, writes: Sequence[Write], extras: Sequence[Extra], reason: str) -> Any:
    for write in writes:
        kind = write.member.kind
        message = write.message if kind.send is None else kind.send(write.message)
        getattr(request, kind.name).append(message)
    for extra in extras:
        extra.kind.delete(request, extra.message)
    if "reason" in request.DESCRIPTOR.fields_by_name:
        request.reason = reason
    return request


def _tell_prices(plan: Plan, steps: Iterable[Step]) -> None:
    """Lets a trial of routes know of prices that are written before them."""
    prices = [each.message for each in plan.writes if each.member.kind.name == "prices"]
    flat = {each.operation for each in prices if each.operation}
    for step in steps:
        if not isinstance(step.request, pb.ApplyRoutesRequest):
            continue
        step.request.priced_candidates.extend(
            call_pb2.Candidate(provider=each.provider, model=each.model)
            for each in prices
            if each.model
        )
        for route in step.request.routes:
            if route.operation in flat:
                step.request.priced_candidates.extend([*route.candidates, route.baseline_model])
