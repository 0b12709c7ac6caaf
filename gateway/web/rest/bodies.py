"""Reads a request's body within bounds of size and time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request

from gateway.web.rest.problems import RequestRefusedError

# As much as an RPC's message may have.
BYTES_MAX: Final = 8 * 1024 * 1024
# A client that sends slower than that holds a connection for nothing.
SECONDS_MAX: Final = 15.0


async def read_body(request: Request) -> bytes:
    """Returns the whole body. Raises RequestRefusedError."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SECONDS_MAX):
            async for part in request.stream():
                size += len(part)
                if size > BYTES_MAX:
                    raise RequestRefusedError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        "BODY_TOO_LARGE",
                        f"a body has at most {BYTES_MAX} bytes: send less at a time",
                    )
                parts.append(part)
    except TimeoutError:
        raise RequestRefusedError(
            HTTPStatus.REQUEST_TIMEOUT,
            "BODY_TOO_SLOW",
            f"the body did not arrive within {SECONDS_MAX:.0f} s",
        ) from None
    except ClientDisconnect:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, "DISCONNECTED", "the client went away"
        ) from None
    return b"".join(parts)
