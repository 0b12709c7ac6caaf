"""What the page on operations lists is what is there: jobs, limits, secrets, metrics, settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest
import yaml

from chassis import config
from docs import generate

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = (ROOT / "docs/operations.md").read_text()
BASE: Final = ROOT / "deploy/k8s/base"
PAGES: Final = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
MAKES_METRIC: Final = re.compile(r"create_\w+|Histogram|Counter|Gauge")
SERVERS: Final = ("chassis", "services", "gateway")


def rows(*, columns: int) -> list[tuple[str, ...]]:
    """Cells of all tables with so many columns, without backquotes."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [each for each in cells if len(each) == columns]


def test_every_job_is_listed_with_its_schedule() -> None:
    scheduled = set()
    for path in BASE.glob("*/cronjob-*.yaml"):
        manifest = yaml.safe_load(path.read_text())
        deployable = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        job = path.stem.removeprefix("cronjob-")
        scheduled.add((f"`{deployable}` `{job}`", f"`{manifest['spec']['schedule']}`"))

    assert {row[:2] for row in rows(columns=4) if row[0].startswith("`")} == scheduled


def test_every_default_limit_is_listed_with_its_cap() -> None:
    schema = (ROOT / "services/admission/sql/schema.sql").read_text()
    defaults = re.findall(
        r"\('(default-[\w-]+)', '([^']*)', (\d), (\d), 'UTC', (\d+), ''\)", schema
    )
    expected = set()
    for name, scope, metric, period, cap in defaults:
        is_calls = metric == "1"
        amount = f"{int(cap):,}" if is_calls else f"${int(cap) // 10**9:,}"
        whose = "the platform" if scope == "{}" else "each org"
        window = "day" if period == "1" else "month"
        expected.add((f"`{name}`", whose, "calls" if is_calls else "cost", window, amount))

    assert expected
    assert {row for row in rows(columns=5) if row[0].startswith("`")} == expected


def test_every_secret_that_the_cluster_needs_is_listed_with_its_key() -> None:
    needed = set()
    for path in BASE.rglob("*.yaml"):
        text = path.read_text()
        for name, key in re.findall(r"secretKeyRef:\s+name: (\S+)\s+key: (\S+)", text):
            general = re.sub(
                r"^headgate-(admission|accounting|health|gateway)", r"headgate-<service>", name
            )
            needed.add(
                (f"`{name if key in ('permit-keys', 'channel-keys') else general}`", f"`{key}`")
            )

    assert {row[:2] for row in rows(columns=3) if row[0].startswith("`headgate-")} == needed


def metric_names() -> Iterator[str]:
    for folder in SERVERS:
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            constants = {
                target.id: node.value.value
                for node in tree.body
                if isinstance(node, ast.AnnAssign | ast.Assign)
                and isinstance(node.value, ast.Constant)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                called = ast.unparse(node.func).rpartition(".")[2]
                first = node.args[0]
                name = constants.get(first.id) if isinstance(first, ast.Name) else None
                if isinstance(first, ast.Constant):
                    name = first.value
                if MAKES_METRIC.fullmatch(called) and isinstance(name, str):
                    yield name


def test_every_metric_is_listed_and_no_other() -> None:
    names = set(metric_names())
    start = PAGE.index("| metric | of | says |")
    listed = set(re.findall(r"^\| `([^`]+)` \|", PAGE[start:], re.MULTILINE))

    assert len(names) >= 8
    assert listed == names


def test_every_event_that_deserves_an_alert_is_logged_somewhere() -> None:
    (sentence,) = re.findall(r"Events that deserve an alert: ([^.]*)\.", PAGE)
    sources = "\n".join(
        path.read_text() for folder in SERVERS for path in (ROOT / folder).rglob("*.py")
    )

    for event in re.findall(r"`(\w+)`", sentence):
        assert f'"{event}"' in sources, event


def known_variables() -> set[str]:
    names = {config.PREFIX + name for name in config.SINGLE_NAMES}
    for module in generate.DEPLOYABLES.values():
        cls = generate.settings_class(module)
        names |= {config.variable(cls, field) for field in cls.model_fields}
    return names


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_that_a_page_names_is_read_by_somebody(page: str) -> None:
    named = set(re.findall(r"\bHEADGATE_[A-Z_]*[A-Z]\b(?!_)", (ROOT / page).read_text()))

    assert named - known_variables() == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_runs_exists(page: str) -> None:
    for name in set(re.findall(r"python -m ([a-z][\w.]*)", (ROOT / page).read_text())):
        module = import_module(name)
        folder = Path(module.__file__ or "").parent
        assert not hasattr(module, "__path__") or (folder / "__main__.py").is_file(), name
