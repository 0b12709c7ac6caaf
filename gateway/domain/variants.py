"""Which candidate of a weighted route a call begins with: the same for the same user, always.

Weighted rendezvous hashing: each candidate draws a number from the user and its own name, and the
smallest number over its weight wins. So nothing is remembered, every gateway agrees, and a weight
that changes moves only users to or from its candidate: as few as the new shares need.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

from gateway.domain.calls import Call, Candidate, Route

# Draws are of 52 bits, and half a step above: a float holds them exactly, and none is 0 or 1.
_BITS: Final = 52
_DRAWS: Final = 2**_BITS


def arrange(route: Route, call: Call) -> tuple[Candidate, ...]:
    """Returns the route's candidates in the order in which this call tries them: the one that its
    user begins with, then the others as the route has them.
    """
    if not route.weights:
        return route.candidates
    subject = _subject(call)
    _, first = min(
        (_draw(subject, candidate) / weight, position)
        for position, (candidate, weight) in enumerate(
            zip(route.candidates, route.weights, strict=True)
        )
        if weight
    )
    candidates = route.candidates
    return (candidates[first], *candidates[:first], *candidates[first + 1 :])


def _subject(call: Call) -> str:
    """Returns who the call is for: its user, else its session, else its org."""
    for dimension in ("user", "session"):
        value = call.dimensions.get(dimension)
        if value:
            return "\0".join((call.operation, call.org, dimension, value))
    return "\0".join((call.operation, call.org))


def _draw(subject: str, candidate: Candidate) -> float:
    """Returns an exponentially distributed number, above 0."""
    name = "\0".join((subject, candidate.provider, candidate.model))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return -math.log(((int.from_bytes(digest) >> (64 - _BITS)) + 0.5) / _DRAWS)
