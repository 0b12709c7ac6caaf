"""The command line `headgate`: operates a running Headgate through its admin API.

It decides nothing: each command is one RPC, checked and audited by the gateway. What a person may
see as a table, a program gets with `--json`: the contract's messages in protobuf's JSON form, so
64-bit integers are strings and no amount is ever rounded.
"""

from __future__ import annotations

try:
    import rich  # noqa: F401 - only whether it is there
    import typer  # noqa: F401 - only whether it is there
except ModuleNotFoundError:
    raise SystemExit(
        "headgate: the command line needs more than the client: pip install 'headgate[cli]'"
    ) from None
