"""The price of authentication: the servers' own server in front of fixed answers.

Run as `python -m bench.doors on` or `off`, with an `AdmitCallResponse` in hexadecimal on its
standard input. Prints its port. With `on`, the gateway's authenticator lets the callers in, from
its memory as under load; with `off`, nobody is asked for a key.
"""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Final

import uvloop
from pydantic import SecretStr

from bench.echo import Echo
from chassis.config import Settings
from chassis.handlers import Metadata
from chassis.server import Authenticator, Server
from chassis.telemetry import setup
from gateway import keys
from gateway.auth import KeyAuthenticator, StoredKey, StoredSession
from gateway.principals import Principal, Role, grant_all
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc

# A key of the right form that opens nothing else.
API_KEY: Final = "hg_bench_" + "0" * 43
_SERVICE: Final = "headgate.api.gateway.v1.GatewayService"


class OneKey:
    """Stores one key, and never changes."""

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        """Returns the key."""
        who = Principal(actor=key_id, grants=grant_all(Role.BACKEND, ("bench",)))
        return StoredKey(
            principal=who, key_hash=keys.hash_key(API_KEY), remaining_seconds=math.inf
        )

    async def fetch_session(self, token_hash: bytes) -> StoredSession | None:
        """Nobody has a session."""
        return None

    async def fetch_key_version(self) -> int:
        """Returns the same number each time."""
        return 1


async def let_in(metadata: Metadata, method: str) -> object:
    """Asks for nothing."""
    return None


async def serve(answer: pb.AdmitCallResponse, authenticate: Authenticator) -> None:
    """Serves until the standard input closes."""
    secret = SecretStr("0" * 32)
    settings = Settings(
        listen_address="127.0.0.1:0",
        database_url=SecretStr("postgresql://nobody"),
        service_token=secret,
        log_level="error",
    )
    with setup(settings, "doors") as telemetry:
        server = Server(settings, telemetry)
        server.add(
            gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
            Echo(answer),  # type: ignore[abstract] # it serves four methods of several
            service_name=_SERVICE,
            authenticate=authenticate,
        )
        print(await server.start(), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.drain()


async def main() -> None:
    """Reads what to answer and whom to let in."""
    answer = pb.AdmitCallResponse.FromString(bytes.fromhex(sys.stdin.readline()))
    if sys.argv[1:] == ["off"]:
        await serve(answer, let_in)
        return
    authenticate = KeyAuthenticator(OneKey(), OneKey())
    fresh = asyncio.create_task(authenticate.keep_fresh())
    await serve(answer, authenticate)
    fresh.cancel()


if __name__ == "__main__":
    uvloop.run(main())
