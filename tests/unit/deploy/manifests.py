"""The Kubernetes files of the repository, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
BASE: Final = ROOT / "deploy/k8s/base"
OVERLAYS: Final = ROOT / "deploy/k8s/overlays"
CERTIFICATES: Final = ROOT / "deploy/k8s/components/cert-manager"
# Where pods find their certificates, and what each secret of them holds.
TLS_FOLDER: Final = "/etc/headgate/tls"
TLS_FILES: Final = ("tls.crt", "tls.key", "ca.crt")
# Import path of each deployable, by its name in the cluster.
DEPLOYABLES: Final = {
    "admission": "services.admission",
    "accounting": "services.accounting",
    "health": "services.health",
    "gateway": "gateway",
}

Manifest = dict[str, Any]


@cache
def files() -> tuple[Path, ...]:
    """The base's resources, one file each; kustomizations are no resources."""
    return tuple(
        path for path in sorted(BASE.rglob("*.yaml")) if path.name != "kustomization.yaml"
    )


@cache
def _parse(path: Path) -> Manifest:
    manifest: Manifest = yaml.safe_load(path.read_text())
    return manifest


def load(path: Path) -> Manifest:
    """Parses a file that holds one resource. The caller may change what it gets."""
    return deepcopy(_parse(path))


@cache
def of_cert_manager() -> tuple[Manifest, ...]:
    """Resources of the component that makes certificates."""
    paths = sorted(CERTIFICATES.glob("*.yaml"))
    return tuple(
        manifest
        for path in paths
        if path.name != "kustomization.yaml"
        for manifest in yaml.safe_load_all(path.read_text())
    )


def of_kind(*kinds: str) -> Iterator[Manifest]:
    """The base's resources of these kinds."""
    for path in files():
        manifest = load(path)
        if manifest["kind"] in kinds:
            yield manifest


def name(manifest: Manifest) -> str:
    """`Kind/name`, for messages."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def component(manifest: Manifest) -> str:
    """The deployable that the resource belongs to."""
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def pod_template(manifest: Manifest) -> Manifest | None:
    """The pod that a workload makes, None for any other resource."""
    match manifest["kind"]:
        case "Deployment" | "Job":
            template: Manifest = manifest["spec"]["template"]
        case "CronJob":
            template = manifest["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            return None
    return template


def containers(template: Manifest) -> list[Manifest]:
    """All containers of a pod, those that run first included."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def arguments(manifest: Manifest) -> list[list[str]]:
    """Command lines of a workload's containers."""
    template = pod_template(manifest)
    assert template is not None
    return [[*each["command"], *each["args"]] for each in containers(template)]
