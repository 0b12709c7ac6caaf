"""What the Kubernetes files set is what the deployables read, and what they run exists."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic
import pytest

from chassis.config import Settings
from tests.unit.deploy import manifests
from tests.unit.deploy.manifests import Manifest

# Jobs that no schedule runs, each with its reason.
UNSCHEDULED: dict[tuple[str, str], str] = {
    ("gateway", "bootstrap"): "makes the demo's keys and routes on a fresh local install",
}
WORKLOADS = [
    pytest.param(manifest, id=manifests.name(manifest))
    for manifest in manifests.of_kind("Deployment", "Job", "CronJob")
]


def settings_class(deployable: str) -> type[Settings]:
    """The deployable's settings class: the one in its config module that is not the chassis'."""
    module = import_module(f"{manifests.DEPLOYABLES[deployable]}.config")
    (found,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
    ]
    return found


def config_map(deployable: str) -> dict[str, str]:
    (found,) = [
        manifest["data"]
        for manifest in manifests.of_kind("ConfigMap")
        if manifest["metadata"]["name"] == deployable
    ]
    return dict(found)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def secret_variables(container: Manifest) -> dict[str, Any]:
    return {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"]}


def variables(deployable: str) -> dict[str, str]:
    """Field names of the deployable's settings, by their environment variables."""
    return {
        f"HEADGATE_{deployable}_{field}".upper(): field
        for field in settings_class(deployable).model_fields
    }


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_variable_is_one_that_the_deployable_reads(workload: Manifest) -> None:
    deployable = manifests.component(workload)
    template = manifests.pod_template(workload)
    assert template is not None

    for container in manifests.containers(template):
        assert container["envFrom"] == [{"configMapRef": {"name": deployable}}]
        given = {*config_map(deployable), *secret_variables(container)}
        assert given - variables(deployable).keys() == set()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_container_gets_a_configuration_that_it_accepts(
    workload: Manifest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for file in manifests.TLS_FILES:
        (tmp_path / file).touch()
    deployable = manifests.component(workload)
    template = manifests.pod_template(workload)
    assert template is not None
    secrets = {
        "database-url": "postgresql://role:password@host:5432/headgate",
        "token": "0" * 64,
        "permit-keys": "k1:" + "0" * 64,
        "channel-keys": "k1:" + "0" * 64,
    }

    for container in manifests.containers(template):
        with monkeypatch.context() as patch:
            for name, value in config_map(deployable).items():
                patch.setenv(name, value.replace(manifests.TLS_FOLDER, str(tmp_path)))
            for name, reference in secret_variables(container).items():
                patch.setenv(name, secrets[reference["key"]])
            try:
                settings_class(deployable)()  # type: ignore[call-arg]  # from the environment
            except pydantic.ValidationError as error:
                pytest.fail(str(error))


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_servers_wait_for_their_calls_before_the_cluster_kills_them(deployable: str) -> None:
    config = config_map(deployable)
    prefix = f"HEADGATE_{deployable.upper()}"
    wait = sum(float(config[f"{prefix}_{name}_SECONDS"]) for name in ("PROPAGATION", "DRAIN"))
    (server,) = [
        manifest
        for manifest in manifests.of_kind("Deployment")
        if manifest["metadata"]["name"] == deployable
    ]
    template = manifests.pod_template(server)
    assert template is not None

    assert template["spec"]["terminationGracePeriodSeconds"] >= wait + 10


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_a_server_listens_where_its_services_and_its_policy_point(deployable: str) -> None:
    prefix, config = f"HEADGATE_{deployable.upper()}", config_map(deployable)
    listening = [f"{prefix}_LISTEN_ADDRESS", f"{prefix}_HTTP_LISTEN_ADDRESS"]
    open_ports = [port_of(config[name]) for name in listening if name in config]
    ports = {
        each["port"]
        for manifest in manifests.of_kind("Service")
        if manifests.component(manifest) == deployable
        for each in manifest["spec"]["ports"]
    }
    (policy,) = [
        manifest
        for manifest in manifests.of_kind("NetworkPolicy")
        if manifest["metadata"]["name"] == deployable
    ]

    metrics = port_of(config[f"{prefix}_METRICS_ADDRESS"])
    assert ports == set(open_ports)
    assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [
        [{"port": port}] for port in [*open_ports, metrics]
    ]


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_a_server_answers_probes_where_it_is_probed(deployable: str) -> None:
    (server,) = [
        manifest
        for manifest in manifests.of_kind("Deployment")
        if manifest["metadata"]["name"] == deployable
    ]
    template = manifests.pod_template(server)
    assert template is not None
    ports = {
        port["name"]: port["containerPort"]
        for container in manifests.containers(template)
        for port in container["ports"]
    }
    address = config_map(deployable)[f"HEADGATE_{deployable.upper()}_PROBE_ADDRESS"]

    assert port_of(address) == ports["probes"]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_pod_has_the_certificates_that_its_configuration_names(workload: Manifest) -> None:
    deployable = manifests.component(workload)
    template = manifests.pod_template(workload)
    assert template is not None
    named = {value for name, value in config_map(deployable).items() if "_TLS_" in name}
    (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "tls"]

    assert named == {f"{manifests.TLS_FOLDER}/{file}" for file in manifests.TLS_FILES}
    # Readable by the group that the pod's user is in.
    assert volume["secret"] == {"secretName": f"headgate-{deployable}-tls", "defaultMode": 0o440}
    for container in manifests.containers(template):
        mount = {"name": "tls", "mountPath": manifests.TLS_FOLDER, "readOnly": True}
        assert mount in container["volumeMounts"]


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_a_certificate_has_the_names_by_which_others_call_and_serves_both_ways(
    deployable: str,
) -> None:
    (certificate,) = [
        manifest["spec"]
        for manifest in manifests.of_cert_manager()
        if manifest["kind"] == "Certificate" and manifest["metadata"]["name"] == deployable
    ]
    called = {
        value.rpartition(":")[0]
        for each in manifests.DEPLOYABLES
        for name, value in config_map(each).items()
        if name.endswith(f"_{deployable.upper()}_ADDRESSES")
    }

    assert certificate["secretName"] == f"headgate-{deployable}-tls"
    assert set(certificate["usages"]) == {"server auth", "client auth"}
    assert called <= set(certificate["dnsNames"])


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_no_pod_speaks_plain_text(deployable: str) -> None:
    assert [name for name in config_map(deployable) if "PLAINTEXT" in name] == []


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_peers_are_reachable_where_the_configuration_points(deployable: str) -> None:
    services = {
        manifest["metadata"]["name"]: manifest["spec"]["ports"][0]["port"]
        for manifest in manifests.of_kind("Service")
    }
    (policy,) = [
        manifest["spec"]
        for manifest in manifests.of_kind("NetworkPolicy")
        if manifest["metadata"]["name"] == deployable
    ]
    open_ports = {port["port"] for rule in policy["egress"] for port in rule.get("ports", ())}

    for name, value in config_map(deployable).items():
        if name.endswith("_ADDRESSES"):
            host, _, port = value.rpartition(":")
            assert services[host] == int(port)
            assert int(port) in open_ports


def scheduled_jobs() -> set[tuple[str, str]]:
    return {
        (manifests.component(manifest), line[-1])
        for manifest in manifests.of_kind("CronJob")
        for line in manifests.arguments(manifest)
    }


def existing_jobs() -> set[tuple[str, str]]:
    return {
        (deployable, path.stem.replace("_", "-"))
        for deployable, module in manifests.DEPLOYABLES.items()
        for path in (manifests.ROOT / module.replace(".", "/") / "jobs").glob("*.py")
        if path.stem != "__init__"
    }


def test_every_job_has_a_cron_job_and_every_cron_job_a_job() -> None:
    assert scheduled_jobs() == existing_jobs() - UNSCHEDULED.keys()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_command_is_the_front_door_of_the_deployable(workload: Manifest) -> None:
    module = manifests.DEPLOYABLES[manifests.component(workload)]

    for line in manifests.arguments(workload):
        assert line[:3] == ["python", "-m", module]
        assert line[3] in {"serve", "provision", "migrate", "job"}
