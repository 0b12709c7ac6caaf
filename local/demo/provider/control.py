"""The stand-in's switches, and what can be read of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.demo.provider.troubles import parse_trouble

if TYPE_CHECKING:
    from local.demo.provider.app import StandIn

OUTAGE_SECONDS_MAX = 3600.0


class Control:
    """The switches, and what can be read."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    async def set_outage(self, request: Request) -> Response:
        """Puts a provider out of service: POST {"provider": …, "seconds": …}; 0 ends it."""
        body = await request.json()
        provider, seconds = body.get("provider"), body.get("seconds")
        if not self._knows(provider):
            return refuse(404, f"no provider {provider!r}")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= OUTAGE_SECONDS_MAX:
            return refuse(400, f"seconds must be a number from 0 to {OUTAGE_SECONDS_MAX:.0f}")
        self._stand_in.outages[provider] = time.monotonic() + seconds
        return JSONResponse({"provider": provider, "seconds": seconds})

    async def set_trouble(self, request: Request) -> Response:
        """Troubles a provider until told otherwise: POST {"provider": …} and a Trouble's fields;
        none of them ends it.
        """
        body = await request.json()
        provider = body.get("provider")
        if not self._knows(provider):
            return refuse(404, f"no provider {provider!r}")
        try:
            self._stand_in.troubles[provider] = parse_trouble(body)
        except (TypeError, ValueError) as error:
            return refuse(400, str(error))
        return JSONResponse(body)

    def _knows(self, provider: object) -> bool:
        return provider in {provider for provider, _ in self._stand_in.prices}

    async def get_state(self, _: Request) -> Response:
        """Shows the bill's sum and who is out."""
        stand_in = self._stand_in
        return JSONResponse(
            {
                "billed_call_count": stand_in.bill.call_count,
                "billed_nanos": stand_in.bill.total_nanos,
                "out": sorted(name for name in stand_in.outages if stand_in.is_out(name)),
            }
        )


def refuse(status: int, message: str) -> Response:
    """Returns an error of nobody's interface."""
    body = {"error": {"message": message, "type": "stand_in", "code": str(status)}}
    return JSONResponse(body, status_code=status)
