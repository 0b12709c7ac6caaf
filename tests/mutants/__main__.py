"""`python -m tests.mutants [--json] [NAME...]`: plants the bugs and prints who caught them."""

from __future__ import annotations

import argparse
import json
import sys

from tests.mutants.catalogue import load
from tests.mutants.run import Verdict, find_broken, judge, scratch_tree


def main() -> int:
    """Returns 0 if every bug was caught and the tree without bugs passes."""
    options = _parse()
    mutants = [each for each in load() if not options.names or each.name in options.names]
    verdicts: list[Verdict] = []
    with scratch_tree() as root:
        broken = find_broken(mutants, root)
        if broken is None or broken:
            print(f"the tree without bugs does not pass: {broken}", file=sys.stderr)
            return 1
        print(f"the tree without bugs passes the tests of {len(mutants)} bugs", file=sys.stderr)
        for mutant in mutants:
            verdict = judge(mutant, root)
            verdicts.append(verdict)
            print(_line(verdict), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps([_fields(each) for each in verdicts], indent=2))
    caught = sum(each.caught for each in verdicts)
    print(f"{caught} of {len(verdicts)} caught", file=sys.stderr)
    return 0 if caught == len(verdicts) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument("names", nargs="*", help="bugs to plant; all, if none is named")
    return parser.parse_args()


def _line(verdict: Verdict) -> str:
    mutant = verdict.mutant
    state = "caught" if verdict.caught else "MISSED"
    test = verdict.test.rpartition("::")[2]
    return f"{mutant.guarantee:>2}  {state}  {mutant.name:<28} {test:<60} {verdict.message}"


def _fields(verdict: Verdict) -> dict[str, object]:
    return {
        "name": verdict.mutant.name,
        "guarantee": verdict.mutant.guarantee,
        "bug": verdict.mutant.bug,
        "caught": verdict.caught,
        "test": verdict.test,
        "message": verdict.message,
    }


if __name__ == "__main__":
    raise SystemExit(main())
