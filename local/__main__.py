"""Command line of the local system: `python -m local up | status | keys | down`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local.commands import down, keys, status
from local.config import places
from local.errors import LocalError
from local.layout import REPLICA_COUNT_MAX
from local.supervisor import say_error
from local.up import Options, up


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "up":
            up(
                Options(
                    gateways=arguments.gateways,
                    admissions=arguments.admissions,
                    healths=arguments.healths,
                    state=arguments.state,
                )
            )
            return 0
        state = places(arguments.state).state
        if arguments.command == "down":
            return down(state)
        if arguments.command == "keys":
            return keys(state)
        return status(state, as_json=arguments.json)
    except LocalError as error:
        say_error(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state", type=Path, metavar="DIR", help="folder of data, secrets and logs"
    )
    starting = commands.add_parser("up", parents=[state], help="start everything and keep it up")
    starting.add_argument("--gateways", type=_count, default=1, metavar="N")
    starting.add_argument("--admissions", type=_count, default=1, metavar="N")
    starting.add_argument("--healths", type=_count, default=1, metavar="N")
    showing = commands.add_parser("status", parents=[state], help="show what runs, and where")
    showing.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("keys", parents=[state], help="print the API keys again")
    commands.add_parser("down", parents=[state], help="stop everything")
    return parser


def _count(text: str) -> int:
    if not (text.isdigit() and 1 <= int(text) <= REPLICA_COUNT_MAX):
        raise argparse.ArgumentTypeError(f"a number from 1 to {REPLICA_COUNT_MAX}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
