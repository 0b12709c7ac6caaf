"""The end of the demo: what was provoked, what was booked, and whether it all agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from headgate import format_usd
from local.demo.acts import Act
from local.demo.books import Check
from local.demo.reconciliation import ALLOWED, Statement
from local.demo.tally import Tally

DIFFERENCES_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All findings of one run."""

    acts: Sequence[Act]
    statement: Statement
    checks: Sequence[Check]
    # Acknowledgements that do not stand, and admissions that should not have been.
    violations: Sequence[str]
    tally: Tally
    # How long the run took, its checks included.
    seconds: float

    @property
    def reconciled(self) -> bool:
        """Whether everything holds."""
        return not list(self.failures())

    def failures(self) -> Iterator[str]:
        """Yields one sentence for each thing that does not hold."""
        yield from (f"{act.name}: {act.story}" for act in self.acts if not act.passed)
        yield from self.statement.violations
        yield from self.violations
        for check in self.checks:
            if not check.passed:
                yield (
                    f"{check.name}: {check.expected_nanos} nano-dollars expected,"
                    f" {check.found_nanos} found"
                )

    def to_json(self) -> str:
        """Renders it for programs."""
        facts: dict[str, Any] = {
            "reconciled": self.reconciled,
            "failures": list(self.failures()),
            "seconds": round(self.seconds, 1),
            "acts": [asdict(act) for act in self.acts],
            "billed_nanos": self.statement.billed_nanos,
            "booked_nanos": self.statement.booked_nanos,
            "lines": [
                {
                    "ending": line.ending.value,
                    "call_count": line.call_count,
                    "billed_nanos": line.billed_nanos,
                    "booked_nanos": line.booked_nanos,
                    "difference_nanos": line.difference_nanos,
                }
                for line in self.statement.lines
            ],
            "differences": [
                {
                    "call_id": each.booking.call_id,
                    "org": each.booking.org,
                    "cause": each.booking.ending.value,
                    "nanos": each.nanos,
                }
                for each in self.statement.differences
            ],
            "checks": [asdict(check) | {"passed": check.passed} for check in self.checks],
            "orgs": {
                name: {
                    "admitted": org.admitted,
                    "failed_over": org.failed_over,
                    "denied": dict(org.denied),
                    "completed": dict(org.completed),
                    "released": org.released,
                    "booked_nanos": org.booked_nanos,
                }
                for name, org in sorted(self.tally.orgs.items())
            },
        }
        return json.dumps(facts, indent=2)

    def print(self, console: Console) -> None:
        """Prints it for people."""
        console.print()
        console.print(self._render_lines())
        self._print_differences(console)
        held = sum(check.passed for check in self.checks)
        _say(
            console,
            f"Usage log, rollups and counters: {held} of {len(self.checks)} equalities hold,"
            " to the nano-dollar.",
        )
        for act in self.acts:
            _say(console, f"{'ok  ' if act.passed else 'FAIL'}  {act.name}: {act.story}")
        for failure in self.failures():
            _say(console, f"FAIL  {failure}", style="bold red")
        if self.reconciled:
            text = f"Reconciled, to the nano-dollar. The demo took {self.seconds:.0f} s."
            _say(console, text, style="bold green")
        else:
            _say(console, "Does not reconcile.", style="bold red")

    def _render_lines(self) -> Table:
        table = Table(title="The provider's bill against Headgate's books", title_justify="left")
        table.add_column("how the call ended")
        for name in ("calls", "billed", "booked", "difference"):
            table.add_column(name, justify="right")
        for line in self.statement.lines:
            table.add_row(
                line.ending.value,
                f"{line.call_count:,}",
                format_usd(line.billed_nanos),
                format_usd(line.booked_nanos),
                format_usd(line.difference_nanos),
            )
        billed, booked = self.statement.billed_nanos, self.statement.booked_nanos
        table.add_section()
        table.add_row(
            "all",
            f"{sum(line.call_count for line in self.statement.lines):,}",
            format_usd(billed),
            format_usd(booked),
            format_usd(billed - booked),
        )
        return table

    def _print_differences(self, console: Console) -> None:
        differences = self.statement.differences
        allowed = sum(each.booking.ending in ALLOWED for each in differences)
        _say(
            console,
            f"{len(differences):,} calls are valued differently, {allowed:,} of them for an"
            " allowed cause; the greatest:",
        )
        for each in differences[:DIFFERENCES_SHOWN_MAX]:
            booking = each.booking
            _say(
                console,
                f"  {format_usd(each.nanos):>14}  {booking.ending.value}  {booking.org}"
                f"  {booking.operation}  {booking.call_id}",
            )


def _say(console: Console, text: str, *, style: str = "") -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
