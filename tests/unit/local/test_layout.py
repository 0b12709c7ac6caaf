from __future__ import annotations

import pytest

from local.credentials import Credentials
from local.layout import MODULES, Layout, lay_out, with_user
from local.ports import BASE_FIRST, BLOCK_COUNT, BLOCK_SIZE, CLAIM_OFFSET

CREDENTIALS = Credentials(
    service_token="t" * 32,
    permit_key="ab" * 32,
    channel_key="cd" * 32,
    api_keys={"demo-acme": "hg_a_x", "demo-globex": "hg_g_y"},
    admin_key="hg_admin_z",
    staff_token="s" * 43,
    passwords={
        f"headgate_{name}{suffix}": f"secret of {name}{suffix}"
        for name in MODULES
        for suffix in ("", "_owner")
    },
    fresh=False,
)
ADMIN_URL = "postgresql://postgres:admins-own@127.0.0.1:5432/postgres"


def layout(*, base: int = 7400, gateways: int = 2, admissions: int = 2) -> Layout:
    return Layout(
        plans=lay_out(base=base, gateways=gateways, admissions=admissions),
        credentials=CREDENTIALS,
        admin_url=ADMIN_URL,
    )


def test_the_first_replicas_have_the_documented_ports() -> None:
    plans = lay_out(base=7400, gateways=1, admissions=1)

    assert {plan.name: (plan.port, plan.metrics_port) for plan in plans} == {
        "gateway-0": (7400, 9464),
        "admission-0": (7401, 9465),
        "accounting-0": (7402, 9466),
        "health-0": (7403, 9467),
    }


def test_gateways_start_last_because_they_stop_first() -> None:
    deployables = [plan.deployable for plan in layout().plans]

    assert deployables[-2:] == ["gateway", "gateway"]
    assert "gateway" not in deployables[:-2]


def test_no_two_ports_of_all_blocks_are_the_same() -> None:
    bases = [BASE_FIRST + BLOCK_SIZE * index for index in range(BLOCK_COUNT)]
    ports = [base + CLAIM_OFFSET for base in bases]
    for base in bases:
        for plan in lay_out(base=base, gateways=10, admissions=10, healths=10):
            ports += [plan.port, plan.metrics_port]
            ports += [plan.http_port] if plan.http_port is not None else []

    assert len(ports) == len(set(ports))


def test_every_replica_of_a_peer_is_told() -> None:
    system = layout()
    environment = system.environment(system.plans[-1])

    assert environment["HEADGATE_GATEWAY_ADMISSION_ADDRESSES"] == "127.0.0.1:7401,127.0.0.1:7421"
    assert environment["HEADGATE_GATEWAY_LISTEN_ADDRESS"] == "127.0.0.1:7411"


def test_a_breaker_suits_a_developer_unless_the_user_chose_otherwise() -> None:
    system = layout()
    preferred = {plan.name: system.preferences(plan) for plan in system.plans}

    assert preferred.pop("health-0") == {
        "HEADGATE_HEALTH_OPEN_SECONDS": "15",
        "HEADGATE_HEALTH_PROBE_SECONDS": "20",
    }
    assert not any(preferred.values())
    assert not any("OPEN" in name for plan in system.plans for name in system.environment(plan))


def test_a_server_gets_no_secret_that_it_does_not_need() -> None:
    system = layout()

    for plan in system.plans:
        values = " ".join(system.environment(plan).values())
        assert "admins-own" not in values
        assert "_owner" not in values
        assert "hg_" not in values
        others = [name for name in MODULES if name != plan.deployable]
        assert [name for name in others if f"of%20{name}" in values] == []
        assert (CREDENTIALS.permit_key in values) == (plan.deployable == "gateway")
        assert (CREDENTIALS.channel_key in values) == (plan.deployable == "accounting")


def test_the_bootstrap_job_gets_each_orgs_key() -> None:
    environment = layout().bootstrap_environment()

    keys = "demo-acme=hg_a_x,demo-globex=hg_g_y"
    assert environment["HEADGATE_GATEWAY_BOOTSTRAP_API_KEYS"] == keys
    assert environment["HEADGATE_GATEWAY_BOOTSTRAP_ADMIN_KEY"] == "hg_admin_z"
    assert environment["HEADGATE_GATEWAY_BOOTSTRAP_STAFF_TOKEN"] == "s" * 43


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a:b@h:1/d", "postgresql://new:p%2F%40@h:1/d"),
        ("postgresql://h/d?sslmode=require", "postgresql://new:p%2F%40@h/d?sslmode=require"),
    ],
)
def test_another_user_keeps_the_rest_of_the_url(url: str, expected: str) -> None:
    assert with_user(url, "new", "p/@") == expected
