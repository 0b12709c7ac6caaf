"""Each Kubernetes file is valid by itself, and says what the house expects of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from kubernetes_validate.utils import ValidationError, validate

from tests.unit.deploy import manifests
from tests.unit.deploy.manifests import Manifest

# The oldest and the newest API that the files must fit.
API_VERSIONS = ("1.30", "1.37")
WORKLOADS = [
    pytest.param(manifest, id=manifests.name(manifest))
    for manifest in manifests.of_kind("Deployment", "Job", "CronJob")
]
SERVERS = [
    pytest.param(manifest, id=manifests.name(manifest))
    for manifest in manifests.of_kind("Deployment")
]
JOBS = [
    pytest.param(manifest["spec"]["jobTemplate"], id=manifests.name(manifest))
    for manifest in manifests.of_kind("CronJob")
] + [pytest.param(manifest, id=manifests.name(manifest)) for manifest in manifests.of_kind("Job")]


def template_of(manifest: Manifest) -> Manifest:
    template = manifests.pod_template(manifest)
    assert template is not None
    return template


@pytest.mark.parametrize(
    "path", manifests.files(), ids=lambda path: f"{path.parent.name}/{path.name}"
)
@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_file_fits_the_api_strictly(path: Path, version: str) -> None:
    validate(manifests.load(path), version, strict=True)


def test_a_misspelt_field_does_not_fit() -> None:
    manifest = next(manifests.of_kind("Deployment"))
    manifest["spec"]["replica"] = 2

    with pytest.raises(ValidationError, match="replica"):
        validate(manifest, API_VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", ["", *manifests.DEPLOYABLES])
def test_every_file_is_part_of_the_kustomization_of_its_folder(folder: str) -> None:
    path = manifests.BASE / folder
    listed = set(manifests.load(path / "kustomization.yaml")["resources"])
    there = {file.name for file in path.glob("*.yaml")} - {"kustomization.yaml"}
    there |= {file.parent.name for file in path.glob("*/kustomization.yaml")}

    assert listed == there


@pytest.mark.parametrize("deployable", manifests.DEPLOYABLES)
def test_every_deployable_has_every_kind_it_needs(deployable: str) -> None:
    kinds = {
        manifest["kind"]
        for path in (manifests.BASE / deployable).glob("*.yaml")
        if path.name != "kustomization.yaml"
        and manifests.component(manifest := manifests.load(path)) == deployable
    }

    assert kinds >= {
        "Deployment",
        "Service",
        "ServiceAccount",
        "ConfigMap",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "Job",
    }


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_pod_is_as_restricted_as_the_cluster_allows(workload: Manifest) -> None:
    spec = template_of(workload)["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in manifests.containers(template_of(workload)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_container_asks_for_what_it_needs_and_is_bounded(workload: Manifest) -> None:
    for container in manifests.containers(template_of(workload)):
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_image_carries_the_version_of_this_checkout(workload: Manifest) -> None:
    project = tomllib.loads((manifests.ROOT / "pyproject.toml").read_text())["project"]

    for container in manifests.containers(template_of(workload)):
        assert container["image"] == f"headgate/headgate:{project['version']}"


@pytest.mark.parametrize("server", SERVERS)
def test_every_server_is_probed_by_name_on_the_port_that_speaks_no_tls(server: Manifest) -> None:
    (container,) = template_of(server)["spec"]["containers"]
    (port,) = [port["containerPort"] for port in container["ports"] if port["name"] == "probes"]

    assert container["startupProbe"]["grpc"] == {"port": port, "service": "liveness"}
    assert container["livenessProbe"]["grpc"] == {"port": port, "service": "liveness"}
    assert container["readinessProbe"]["grpc"] == {"port": port, "service": "readiness"}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_replaced_only_when_its_successor_is_ready(server: Manifest) -> None:
    assert server["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    # The autoscaler owns the number; a value here would reset it at every apply.
    assert "replicas" not in server["spec"]


@pytest.mark.parametrize("server", SERVERS)
def test_the_replicas_of_a_server_are_spread_over_nodes_and_zones(server: Manifest) -> None:
    constraints = template_of(server)["spec"]["topologySpreadConstraints"]

    assert [each["topologyKey"] for each in constraints] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    for each in constraints:
        assert each["labelSelector"] == server["spec"]["selector"]


@pytest.mark.parametrize("server", SERVERS)
def test_selectors_find_the_servers_and_never_the_jobs(server: Manifest) -> None:
    labels = template_of(server)["metadata"]["labels"]
    name = manifests.component(server)

    assert server["spec"]["selector"]["matchLabels"] == labels
    for manifest in manifests.of_kind("Service", "PodDisruptionBudget", "NetworkPolicy"):
        if manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component") != name:
            continue
        spec = manifest["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector) == labels
    assert labels["headgate/role"] == "server"


@pytest.mark.parametrize("job", JOBS)
def test_every_job_ends_by_itself_and_is_marked_as_a_job(job: Manifest) -> None:
    spec = job["spec"]

    assert spec["backoffLimit"] >= 0
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["metadata"]["labels"]["headgate/role"] == "job"


@pytest.mark.parametrize("cron_job", list(manifests.of_kind("CronJob")), ids=manifests.name)
def test_every_cron_job_says_what_happens_when_it_is_late_or_long(cron_job: Manifest) -> None:
    spec = cron_job["spec"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["startingDeadlineSeconds"] >= 10, "the controller looks every 10 seconds"
    assert spec["successfulJobsHistoryLimit"] >= 1
    assert spec["failedJobsHistoryLimit"] >= 1


def test_gateways_have_an_address_and_every_server_a_headless_service() -> None:
    services = {
        manifest["metadata"]["name"]: manifest["spec"] for manifest in manifests.of_kind("Service")
    }

    assert services["gateway"]["type"] == "ClusterIP"
    assert {name for name, spec in services.items() if spec.get("clusterIP") == "None"} == {
        f"{name}-headless" for name in manifests.DEPLOYABLES
    }


def test_nothing_is_reachable_unless_a_policy_says_so() -> None:
    (policy,) = [
        manifest
        for manifest in manifests.of_kind("NetworkPolicy")
        if manifest["metadata"]["name"] == "default"
    ]

    assert policy["spec"]["podSelector"] == {}
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policy["spec"]


def test_no_file_holds_a_secret() -> None:
    assert list(manifests.of_kind("Secret")) == []
    for config in manifests.of_kind("ConfigMap"):
        names = [name for name in config["data"] if name.endswith(("_URL", "_TOKEN", "_KEYS"))]
        assert names == [], manifests.name(config)
