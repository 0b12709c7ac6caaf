"""What kustomize makes of the overlays. Skipped, aloud, where there is no kubectl."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from kubernetes_validate.utils import validate

from tests.unit.deploy import manifests
from tests.unit.deploy.manifests import Manifest

OVERLAYS = sorted(path.parent.name for path in manifests.OVERLAYS.glob("*/kustomization.yaml"))


def render(overlay: str) -> list[Manifest]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: the overlays are not rendered")
    result = subprocess.run(
        [kubectl, "kustomize", manifests.OVERLAYS / overlay],
        check=False,
        capture_output=True,
        text=True,
    )
    if "unknown command" in result.stderr:
        pytest.skip("this kubectl has no kustomize: the overlays are not rendered")
    assert (result.returncode, result.stderr) == (0, "")
    return list(yaml.safe_load_all(result.stdout))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_every_resource_of_the_base_and_each_is_valid(overlay: str) -> None:
    rendered = render(overlay)

    assert len(rendered) == len(manifests.files()) + len(manifests.of_cert_manager())
    for manifest in rendered:
        if not manifest["apiVersion"].startswith("cert-manager.io/"):
            validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_puts_everything_into_its_own_namespace(overlay: str) -> None:
    rendered = render(overlay)
    (namespace,) = [each for each in rendered if each["kind"] == "Namespace"]

    assert {each["metadata"]["namespace"] for each in rendered if each["kind"] != "Namespace"} == {
        namespace["metadata"]["name"]
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_s_certificate_has_the_names_of_the_overlay_s_namespace(overlay: str) -> None:
    rendered = render(overlay)
    (namespace,) = [each for each in rendered if each["kind"] == "Namespace"]
    (certificate,) = [
        each
        for each in rendered
        if each["kind"] == "Certificate" and each["metadata"]["name"] == "gateway"
    ]
    name = namespace["metadata"]["name"]

    assert certificate["spec"]["dnsNames"] == [
        "gateway",
        f"gateway.{name}.svc",
        "gateway-headless",
        f"gateway-headless.{name}.svc",
    ]


def test_production_never_runs_a_server_alone() -> None:
    scalers = [each for each in render("prod") if each["kind"] == "HorizontalPodAutoscaler"]

    assert len(scalers) == len(manifests.DEPLOYABLES)
    assert min(each["spec"]["minReplicas"] for each in scalers) >= 2
