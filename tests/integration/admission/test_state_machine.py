"""Random histories on a real database: it decides as the reference does, and its books are right.

Two replicas take turns, time moves only by the test's hand, limits and fences come and go. After
each step guarantees 1 to 5 are looked at from outside.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from services.admission.config import AdmissionSettings
from services.admission.domain.calls import (
    CallKey,
    Candidate,
    DenialReason,
    Denied,
    Ended,
    Expire,
    Extend,
    Held,
    IdReused,
    Release,
    Reserve,
    Settle,
    State,
    WriteOff,
)
from services.admission.domain.limits import ANY, Limit, Metric, ordered
from tests.integration.admission.reference import CAPS, SHAPES, Call, Reference
from tests.integration.admission.replicas import new_call_id
from tests.integration.admission.world import World, open_world

HOLD: Final = dt.timedelta(seconds=30)
# Shape and org of the limits that every history begins with.
FIRST_LIMITS: Final = ((0, 0), (2, 1), (3, 0))
EFFORT: Final = effort(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    # To shorten a history that fails takes longer than to read it.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


class Histories(RuleBasedStateMachine):
    """One history."""

    world: ClassVar[World]

    calls: Bundle[Reserve] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.reference = Reference()
        number = next(self.world.histories)
        self.asked: dict[CallKey, Reserve] = {}
        self.orgs = [f"org-{number}-{letter}" for letter in "ab"]
        self.number = number

    @initialize()
    def begin(self) -> None:
        """Starts on a day of its own, so that platform limits do not matter."""
        self.world.pass_time(dt.timedelta(days=1))
        for shape, org in FIRST_LIMITS:
            self.put_one(shape, org, 2, 0)

    @rule(
        target=calls,
        org=st.integers(0, 1),
        nanos=st.integers(0, 120),
        user=st.sampled_from(["", "ann", "bob"]),
        replica=st.integers(0, 1),
    )
    def reserve(self, org: int, nanos: int, user: str, replica: int) -> Any:
        call = make_call(self.orgs[org], nanos, user)
        self.ask(call, replica)
        return call if call.key in self.reference.calls else multiple()

    @rule(call=calls, replica=st.integers(0, 1))
    def ask_again(self, call: Reserve, replica: int) -> None:
        self.ask(call, replica)

    @rule(call=calls, replica=st.integers(0, 1))
    def ask_with_other_fields(self, call: Reserve, replica: int) -> None:
        outcome = self.world.submit(replace(call, fingerprint=b"o" * 32), replica)
        assert isinstance(outcome, IdReused), "guarantee 7"

    @rule(
        call=calls, step=st.integers(-1, 1), nanos=st.integers(0, 200), replica=st.integers(0, 1)
    )
    def settle(self, call: Reserve, step: int, nanos: int, replica: int) -> None:
        revision = max(1, self.reference.calls[call.key].revision + step)
        self.world.submit(Settle(call.key, revision, nanos), replica)
        self.reference.settle(call.key, revision, nanos, self.world.now)

    @rule(call=calls, replica=st.integers(0, 1))
    def release(self, call: Reserve, replica: int) -> None:
        self.world.submit(Release(call.key), replica)
        self.reference.release(call.key)

    @rule(org=st.integers(0, 1), replica=st.integers(0, 1))
    def release_unknown(self, org: int, replica: int) -> None:
        call = make_call(self.orgs[org], 1, "")
        self.world.submit(Release(call.key), replica)
        self.reference.release(call.key)
        assert self.world.submit(call, replica) == Ended(State.RELEASED, 0), "guarantee 5"

    @rule(call=calls, seconds=st.integers(1, 90), replica=st.integers(0, 1))
    def extend(self, call: Reserve, seconds: int, replica: int) -> None:
        duration = dt.timedelta(seconds=seconds)
        self.world.submit(Extend(call.key, duration), replica)
        self.reference.extend(call.key, duration, self.world.now)

    @rule(call=calls, replica=st.integers(0, 1))
    def expire(self, call: Reserve, replica: int) -> None:
        outcome = self.world.submit(Expire(call.key), replica)
        assert isinstance(outcome, Ended) is self.reference.expire(call.key, self.world.now)

    @rule(replica=st.integers(0, 1))
    def sweep(self, replica: int) -> None:
        self.world.sweep(replica)
        for key in self.reference.calls:
            self.reference.expire(key, self.world.now)

    @rule(call=calls, replica=st.integers(0, 1))
    def write_off(self, call: Reserve, replica: int) -> None:
        self.world.submit(WriteOff(call.key), replica)
        self.reference.write_off(call.key, self.world.now)

    @rule(
        shape=st.integers(0, len(SHAPES) - 1),
        org=st.sampled_from([None, 0, 1]),
        cap=st.integers(0, 3),
        replica=st.integers(0, 1),
    )
    def put_limit(self, shape: int, org: int | None, cap: int, replica: int) -> None:
        # A default would count other histories' calls too, so both orgs get one of their own.
        for number in (0, 1) if org is None else (org,):
            self.put_one(shape, number, cap, replica)

    @rule(data=st.data(), replica=st.integers(0, 1))
    def delete_limit(self, data: st.DataObject, replica: int) -> None:
        if self.reference.limits:
            limit_id = data.draw(st.sampled_from(sorted(self.reference.limits)))
            self.world.delete_limit(limit_id, replica)
            del self.reference.limits[limit_id]

    @rule(active=st.booleans(), replica=st.integers(0, 1))
    def set_fence(self, *, active: bool, replica: int) -> None:
        self.world.set_fence(replica, active=active)
        self.reference.fenced = active
        for key, call in self.reference.calls.items():
            if active and call.state is State.HELD:
                outcome = self.world.submit(self.asked[key], replica)
                assert isinstance(outcome, Denied), "guarantee 11"

    @rule(
        step=st.one_of(
            st.integers(1, 5_000_000),
            st.sampled_from([10_000_000, 29_999_999, 30_000_000, 60_000_000]),
            st.sampled_from([3_600_000_000, 86_400_000_000]),
        )
    )
    def pass_time(self, step: int) -> None:
        self.world.pass_time(dt.timedelta(microseconds=step))

    @invariant()
    def no_cap_is_overspent(self) -> None:
        assert self.world.overspent_count() == 0, "guarantee 1"

    @invariant()
    def the_books_add_up(self) -> None:
        found = self.world.audit()
        assert not found.counters, "guarantee 4"
        assert not found.doubled_calls, "guarantee 5"
        assert not found.orphaned_calls, "guarantee 3"

    @invariant()
    def every_call_is_where_it_must_be(self) -> None:
        found = {key: row for key, row in self.world.calls().items() if key.org in self.orgs}
        assert found.keys() == self.reference.calls.keys() | self.reference.tombstones.keys()
        for key, call in self.reference.calls.items():
            row = found[key]
            says = (State(row["state"]), row["settled_nanos"], row["expire_time"])
            assert says == (call.state, call.settled_nanos, call.expire_time), "guarantee 5"

    def teardown(self) -> None:
        self.world.set_fence(0, active=False)
        for limit_id in self.reference.limits:
            self.world.delete_limit(limit_id, 0)

    def put_one(self, shape: int, org: int, cap: int, replica: int) -> None:
        name, metric, window = SHAPES[shape]
        scope = {"org": self.orgs[org]} | ({name: ANY} if name else {})
        limit = Limit(
            limit_id=f"limit-{self.number}-{shape}-{org}",
            scope=ordered(scope),
            metric=metric,
            window=window,
            cap=CAPS[metric][cap % len(CAPS[metric])],
        )
        self.world.put_limit(limit, replica)
        self.reference.limits[limit.limit_id] = limit

    def ask(self, call: Reserve, replica: int) -> None:
        """Asks for a call; the answer must be the reference's."""
        now, known = self.world.now, self.reference.calls.get(call.key)
        before = self.world.counters()
        self.asked[call.key] = call
        outcome = self.world.submit(call, replica)
        dimensions = call.dimensions_on("provider", "model")
        nanos = call.candidates[0].cost_nanos
        if known is not None and known.state is not State.HELD:
            assert outcome == Ended(known.state, known.settled_nanos), "guarantee 7"
        elif self.reference.fenced:
            assert isinstance(outcome, Denied), "guarantee 11"
            assert outcome.reason is DenialReason.FENCED
        elif known is not None:
            assert isinstance(outcome, Held), "guarantee 7"
            assert (outcome.replayed, outcome.reservation.held_nanos) == (True, known.nanos)
        elif self.reference.fits(nanos, dimensions, now):
            assert isinstance(outcome, Held), "guarantee 2"
            names = self.reference.names(dimensions, now)
            self.reference.admit(_admitted(call, names, now))
        else:
            assert isinstance(outcome, Denied), "guarantee 1"
        if isinstance(outcome, Denied) and not _is_crowded(outcome):
            assert self.world.counters() == before, "guarantee 3"
        if isinstance(outcome, (Held, Denied)):
            self.adopt_expiries()

    def adopt_expiries(self) -> None:
        """A crowded limit on concurrency ends holds whose time has passed."""
        for key, row in self.world.calls().items():
            if row["state"] == State.EXPIRED:
                self.reference.expire(key, self.world.now)


def make_call(org: str, nanos: int, user: str) -> Reserve:
    return Reserve(
        key=CallKey(org, new_call_id()),
        fingerprint=b"f" * 32,
        operation="chat",
        candidates=(Candidate("provider", "model", nanos, 1),),
        hold_duration=HOLD,
        price_version=1,
        dimensions={"user": user} if user else {},
    )


def _admitted(call: Reserve, names: Any, now: dt.datetime) -> Call:
    return Call(
        key=call.key,
        fingerprint=call.fingerprint,
        nanos=call.candidates[0].cost_nanos,
        admit_time=now,
        expire_time=now + call.hold_duration,
        names=names,
    )


def _is_crowded(denied: Denied) -> bool:
    return any(each.limit.metric is Metric.CONCURRENCY for each in denied.violations)


def test_every_history_keeps_guarantees_1_to_5(
    database_url: str, settings: AdmissionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_world(database_url, settings, monkeypatch) as world:

        class Machine(Histories):
            pass

        Machine.world = world
        run_state_machine_as_test(Machine, settings=EFFORT)
