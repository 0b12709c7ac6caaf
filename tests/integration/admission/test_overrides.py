"""A limit that overrides another changes the cap and not the counter."""

from __future__ import annotations

import pytest

from services.admission.domain.calls import Denied, Held
from services.admission.engine import Engine
from services.admission.policy import Policy
from tests.integration.admission.replicas import (
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)


async def test_an_override_spends_no_cap_twice(engine: Engine) -> None:
    await put_limit(engine, make_limit("default-org-cost-day", org="*", cap=100))
    assert isinstance(await engine.reservations.submit(make_reserve(60)), Held)
    await put_limit(engine, make_limit("acme-day", cap=100))
    denied = await engine.reservations.submit(make_reserve(50))
    assert isinstance(denied, Denied), "the override started with a whole cap"
    assert [each.limit.limit_id for each in denied.violations] == ["acme-day"]
    assert denied.violations[0].held == 60
    await put_limit(engine, make_limit("acme-day", cap=110))
    assert isinstance(await engine.reservations.submit(make_reserve(50)), Held)
    await assert_books(engine)


@pytest.mark.parametrize("cap", [60, 200])
async def test_what_an_override_admitted_counts_without_it(engine: Engine, cap: int) -> None:
    await put_limit(engine, make_limit("default-org-cost-day", org="*", cap=100))
    await put_limit(engine, make_limit("acme-day", cap=cap))
    assert isinstance(await engine.reservations.submit(make_reserve(cap)), Held)
    await Policy(engine.pool).delete_limit("acme-day", audit_id="audit-2")
    denied = await engine.reservations.submit(make_reserve(41))
    assert isinstance(denied, Denied)
    assert denied.violations[0].held == cap
    await assert_books(engine)
