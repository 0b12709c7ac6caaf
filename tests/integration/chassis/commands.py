"""How commands are run and how they ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from chassis.migrations import migrate
from chassis.provision import provision
from tests.integration.chassis import toy
from tests.integration.chassis.toy import MIGRATIONS
from tests.postgres import ROLE_PASSWORD
from tests.schemas import owner_url, runtime_url

Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: object
    out: str
    err: str

    @property
    def events(self) -> list[str]:
        """What was logged, in order."""
        lines = [line for line in self.err.splitlines() if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]


Command = Callable[..., Ended]

# For commands that never connect.
NOWHERE = "postgresql://postgres:secret@127.0.0.1:1/none"


async def build(url: str) -> None:
    for name in ("toy", "neighbour"):
        await provision(
            url, name=name, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD
        )
        await migrate(owner_url(url, name), schema=name, directory=MIGRATIONS)


def environment_of(url: str) -> Environment:
    fields = {
        "LISTEN_ADDRESS": "127.0.0.1:0",
        "DATABASE_URL": runtime_url(url, "toy"),
        "OWNER_DATABASE_URL": owner_url(url, "toy"),
        "ADMIN_DATABASE_URL": url,
        "SERVICE_TOKEN": toy.TOKEN,
        "DRAIN_SECONDS": "5",
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return own | {f"HEADGATE_HEALTH_{name}": value for name, value in fields.items()}
