"""Where the gateway is and which key to show it: from options, else from HEADGATE_* variables."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer

from headgate import channel

DEFAULT_TARGET: Final = "127.0.0.1:7400"
# Not an option: a command line is readable by everybody on its machine.
KEY_VARIABLE: Final = "HEADGATE_ADMIN_KEY"
ENDPOINTS_FILE: Final = "endpoints.json"


class WrongUse(typer.TyperException):
    """The command line or the environment is wrong: what, and what would be right."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says; empty and None: not said."""

    target: str
    key_file: Path | None
    state_dir: Path | None
    ca_file: Path | None
    insecure: bool
    timeout_seconds: float
    # Why, for the audit log.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A gateway, and who is asking."""

    target: str
    # An API key, or the token of a session. Empty: nobody in particular asks.
    key: str = field(repr=False)
    tls: channel.Tls | None
    insecure: bool
    timeout_seconds: float
    reason: str = ""


def read_variable(name: str) -> str:
    """Returns what a variable holds that a file names. Empty: it is not set."""
    return os.environ.get(name, "")


def find_access(options: Options, *, needs_key: bool = True) -> Access:
    """Returns how to reach the gateway. Raises WrongUse if something is missing or can't be.

    Options come before variables, and both before what a local system left in its state folder.
    """
    target, key = options.target, _read_key(options)
    if options.state_dir is not None and not (target and key):
        local_target, local_key = _read_endpoints(options.state_dir / ENDPOINTS_FILE)
        target, key = target or local_target, key or local_key
    if not key and needs_key:
        raise WrongUse(f"no admin key: set {KEY_VARIABLE}, or give --key-file or --state-dir")
    certificates = _read(options.ca_file) if options.ca_file is not None else None
    access = Access(
        target=target or DEFAULT_TARGET,
        key=key,
        tls=channel.Tls(root_certificates=certificates) if certificates is not None else None,
        insecure=options.insecure,
        timeout_seconds=options.timeout_seconds,
        reason=options.reason,
    )
    try:
        channel.check_target(access.target, tls=access.tls, insecure=access.insecure)
        if key:
            channel.authorization(key)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    return access


def _read_key(options: Options) -> str:
    if options.key_file is None:
        return os.environ.get(KEY_VARIABLE, "")
    return _read(options.key_file).decode("utf-8", "replace").strip()


def _read_endpoints(path: Path) -> tuple[str, str]:
    """Returns the gateways' target and the admin key."""
    try:
        endpoints = json.loads(_read(path))
        gateways = [str(each) for each in endpoints["gateways"]]
        return f"ipv4:{','.join(gateways)}", str(endpoints["admin_key"])
    except (ValueError, KeyError, TypeError):
        raise WrongUse(f"{path} is not written by a local system; is it up?") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongUse(f"can't read {path}: {error.strerror}") from None
