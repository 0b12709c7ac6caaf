"""Any history of outcomes, wishes and waiting, against a model that knows no library."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from services.health.domain import decisions
from services.health.domain.breakers import Breaker, BreakerState, Situation
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal
from tests.unit.health.values import KEY, NOW, SECOND, applied, observation, situation, wish

NUMBERS = st.integers(0, 5)
SIGNALS = [Signal.SUCCEEDED, Signal.FAILED, Signal.NEUTRAL]
MEMBERS = st.lists(
    st.tuples(st.sampled_from(SIGNALS), NUMBERS, st.integers(-1, 1)), min_size=1, max_size=8
)


@dataclass
class Model:
    """One breaker in the plainest words. Times are seconds since the beginning."""

    rules: BreakerRules
    state: str = "closed"
    epoch: int = 0
    failures: int = 0
    # Parities of the calls that failed in this row: two orgs.
    orgs: set[int] = field(default_factory=set)
    successes: int = 0
    ready_at: float = 0
    # Of each call that probes: the epoch of its permit and when it expires.
    permits: dict[int, tuple[int, float]] = field(default_factory=dict)

    def move(self, state: str, now: float) -> None:
        self.state = state
        self.epoch += 1
        self.successes = 0
        self.ready_at = now + self.rules.open_duration.total_seconds()

    def observe(self, outcome: Signal, number: int, epoch: int, now: float) -> bool:
        """Returns whether it was heard."""
        held_epoch, expiry = self.permits.pop(number, (-1, 0))
        is_probe = held_epoch == self.epoch and expiry > now
        if epoch != self.epoch or self.state == "open":
            return False
        if self.state == "half-open" and not is_probe:
            return False
        if outcome is Signal.SUCCEEDED:
            self.failures = 0
            self.orgs.clear()
            if self.state == "half-open":
                self.successes += 1
                if self.successes >= self.rules.probe_success_threshold:
                    self.move("closed", now)
        elif outcome is Signal.FAILED:
            self.failures += 1
            self.orgs.add(number % 2)
            enough = self.failures >= self.rules.failure_threshold and len(self.orgs) > 1
            if self.state == "half-open" or enough:
                self.move("open", now)
        return True

    def acquire(self, number: int, now: float) -> bool:
        """Returns whether the call may go."""
        if self.state == "open" and now >= self.ready_at:
            self.move("half-open", now)
        if self.state != "half-open":
            return self.state == "closed"
        live = {other: held for other, held in self.permits.items() if held[1] > now}
        if live.get(number, (-1, 0))[0] == self.epoch:
            return True
        if len(live.keys() - {number}) >= self.rules.probe_count_max:
            return False
        self.permits[number] = (self.epoch, now + self.rules.probe_duration.total_seconds())
        return True


class Histories(RuleBasedStateMachine):
    """Feeds the same history to the decisions and to the model."""

    @initialize(
        threshold=st.integers(1, 5), probe_count=st.integers(1, 3), successes=st.integers(1, 3)
    )
    def begin(self, threshold: int, probe_count: int, successes: int) -> None:
        self.breaker_rules = BreakerRules(
            failure_threshold=threshold,
            open_duration=10 * SECOND,
            probe_count_max=probe_count,
            probe_success_threshold=successes,
            probe_duration=25 * SECOND,
            open_growth=1.0,
            jitter=0.0,
        )
        self.model = Model(self.breaker_rules)
        self.seconds = 0
        self.current: Situation = situation()

    @property
    def breaker(self) -> Breaker:
        return self.current.breakers[KEY]

    @rule(members=MEMBERS)
    def observe(self, members: list[tuple[Signal, int, int]]) -> None:
        epoch = self.model.epoch
        heard = [
            self.model.observe(outcome, number, epoch + age, self.seconds)
            for outcome, number, age in members
        ]
        batch = [
            observation(outcome, number=number, epoch=epoch + age)
            for outcome, number, age in members
        ]
        observed = decisions.observe(self.current, batch, rules=self.breaker_rules)
        one_by_one = self.current
        for member in batch:
            single = decisions.observe(one_by_one, [member], rules=self.breaker_rules)
            one_by_one = applied(one_by_one, single.change)

        assert [not stale for stale in observed.stale] == heard
        if not any(heard):
            assert observed.change.breakers == ()
        self.current = applied(self.current, observed.change)
        assert self.current == one_by_one

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=6))
    def acquire(self, numbers: list[int]) -> None:
        granted = tuple(self.model.acquire(number, self.seconds) for number in numbers)
        wishes = [wish(number) for number in numbers]
        acquired = decisions.acquire(self.current, wishes, rules=self.breaker_rules)
        self.current = applied(self.current, acquired.change)
        again = decisions.acquire(self.current, wishes, rules=self.breaker_rules)

        assert acquired.granted == granted
        assert again.granted == granted
        assert again.change.is_empty

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.seconds += seconds
        self.current = situation(
            *self.current.breakers.values(),
            permits=self.current.permits,
            now=NOW + self.seconds * SECOND,
        )

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        breaker = self.breaker
        assert breaker.state.value == self.model.state
        assert breaker.epoch == self.model.epoch
        assert breaker.failure_count == self.model.failures
        assert breaker.probe_success_count == self.model.successes
        assert (breaker.open_until is not None) == (breaker.state is BreakerState.OPEN)

    @invariant()
    def never_more_probes_than_allowed_are_out(self) -> None:
        if not hasattr(self, "model"):
            return
        out = [each for each in self.current.permits if each.expire_time > self.current.now]
        assert len(out) <= self.breaker_rules.probe_count_max

    def teardown(self) -> None:
        """Whatever happened, time and good probes alone close the breaker."""
        if not hasattr(self, "model"):
            return
        self.wait(25)
        for number in range(100, 100 + self.breaker_rules.probe_success_threshold):
            acquired = decisions.acquire(self.current, [wish(number)], rules=self.breaker_rules)
            assert acquired.granted == (True,)
            self.current = applied(self.current, acquired.change)
            epoch = self.breaker.epoch
            success = observation(Signal.SUCCEEDED, number=number, epoch=epoch)
            change = decisions.observe(self.current, [success], rules=self.breaker_rules).change
            self.current = applied(self.current, change)
        assert self.breaker.state is BreakerState.CLOSED


def test_any_history_of_outcomes_wishes_and_waiting_agrees_with_the_model() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, derandomize=True
        ),
    )
