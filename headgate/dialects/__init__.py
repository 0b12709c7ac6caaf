"""How requests and answers of providers' HTTP interfaces are written.

A dialect is a family of interfaces that share base URL and authentication; a shape is one of its
endpoints. Shapes are pure: bytes and JSON values in, values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headgate.dialects.openai_chat import ChatCompletions
from headgate.dialects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a shape is spoken."""

    # With what every base URL of the dialect is continued.
    path: str
    shape: Shape


_ENDPOINTS: Final = (Endpoint(path="/chat/completions", shape=ChatCompletions()),)


def find(path: str) -> Endpoint | None:
    """Returns the endpoint that a URL's path ends with. None: none that is governed."""
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint.path):
            return endpoint
    return None
