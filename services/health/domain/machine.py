"""The state machine of a breaker: `pybreaker` over a mirror of one locked row.

The library decides when a breaker trips, closes and re-opens; the row is the authority and the
database's clock the time. So the machine lives only while a decision is made: it is built from
the row, fed with trivial functions that do no I/O, and read back. It is never asked to call
while open, because there it would look at this process's clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pybreaker

from services.health.domain.breakers import Breaker, BreakerState, Forced
from services.health.domain.rules import BreakerRules


class _ProviderFailedError(Exception):
    """Tells the machine that a call failed; never leaves this module."""


class _MirrorStorage(pybreaker.CircuitBreakerStorage):
    """Holds a row's state and counts in memory for as long as a decision takes."""

    def __init__(self, breaker: Breaker) -> None:
        super().__init__(breaker.key.text)
        self._state = breaker.state.value
        self._failure_count = breaker.failure_count
        self._success_count = breaker.probe_success_count

    @property
    def state(self) -> str:
        """The state by the library's name for it."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self._failure_count

    def increment_counter(self) -> None:
        """Counts one failure."""
        self._failure_count += 1

    def reset_counter(self) -> None:
        """Ends a row of failures."""
        self._failure_count = 0

    @property
    def success_counter(self) -> int:
        """Successful probes."""
        return self._success_count

    def increment_success_counter(self) -> None:
        """Counts one successful probe."""
        self._success_count += 1

    def reset_success_counter(self) -> None:
        """Forgets the successful probes."""
        self._success_count = 0

    @property
    def opened_at(self) -> dt.datetime | None:
        """Always None: the row's `open_until` is read by the database's clock instead."""
        return None

    @opened_at.setter
    def opened_at(self, opened_at: dt.datetime) -> None:
        # The library offers this process's clock, which must not decide anything.
        del opened_at


def after_success(breaker: Breaker, *, rules: BreakerRules) -> Breaker:
    """Returns state and counts after a call that succeeded. The breaker must not be open."""
    machine, mirror = _build(breaker, rules)
    machine.call(_succeed)
    return _read_back(replace(breaker, failure_orgs=()), mirror)


def after_failure(breaker: Breaker, *, rules: BreakerRules) -> Breaker:
    """Returns state and counts after a call that the provider failed. It must not be open."""
    machine, mirror = _build(breaker, rules)
    try:
        machine.call(_fail)
    except _ProviderFailedError:
        # The library passes on what it has counted.
        return _read_back(breaker, mirror)
    raise AssertionError("the machine swallowed a failure")


def half_opened(breaker: Breaker, *, rules: BreakerRules) -> Breaker:
    """Returns the breaker ready for probes. The caller has checked the time."""
    machine, mirror = _build(breaker, rules)
    machine.half_open()
    return _read_back(breaker, mirror)


def opened(breaker: Breaker, *, rules: BreakerRules) -> Breaker:
    """Returns the breaker open, whatever its counts."""
    machine, mirror = _build(breaker, rules)
    machine.open()
    return _read_back(breaker, mirror)


def closed(breaker: Breaker, *, rules: BreakerRules) -> Breaker:
    """Returns the breaker closed, with no failures counted."""
    machine, mirror = _build(breaker, rules)
    machine.close()
    return replace(_read_back(breaker, mirror), failure_count=0, failure_orgs=())


def _build(
    breaker: Breaker, rules: BreakerRules
) -> tuple[pybreaker.CircuitBreaker, _MirrorStorage]:
    mirror = _MirrorStorage(breaker)
    trips = breaker.is_wide and breaker.forced is not Forced.CLOSED
    machine = pybreaker.CircuitBreaker(
        # Out of reach of one more failure, where failures must not open it.
        fail_max=rules.failure_threshold if trips else breaker.failure_count + 2,
        success_threshold=rules.probe_success_threshold,
        state_storage=mirror,
        name=breaker.key.text,
        throw_new_error_on_trip=False,
    )
    return machine, mirror


def _read_back(breaker: Breaker, mirror: _MirrorStorage) -> Breaker:
    return replace(
        breaker,
        state=BreakerState(mirror.state),
        failure_count=mirror.counter,
        probe_success_count=mirror.success_counter,
    )


def _succeed() -> None:
    """Does nothing, successfully."""


def _fail() -> None:
    raise _ProviderFailedError
