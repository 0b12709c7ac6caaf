"""One candidate after the other, until one answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from headgate.decisions import Candidate
from headgate.errors import AllCandidatesFailed, Denied, RpcError

if TYPE_CHECKING:
    from headgate.call import Call

T = TypeVar("T")

# The contract lets a call exclude so many.
EXCLUDED_COUNT_MAX: Final = 4


async def run(first: Call, body: Callable[[Call], Awaitable[T]]) -> T:
    """Returns what the first body that succeeds returns; see `Call.run`."""
    failures: list[Exception] = []
    failed: tuple[Candidate, ...] = ()
    fallback_text = ""
    attempt = first
    while True:
        try:
            async with attempt:
                if attempt.denial is None:
                    return await body(attempt)
        except Exception as error:
            unanswered = failures and not attempt.admitted and isinstance(error, RpcError)
            if not attempt.survivable and not unanswered:
                raise
            failures.append(error)
            if attempt.admitted:
                failed += (attempt.candidate,)
        if attempt.denial is not None and not failures:
            raise Denied(attempt.denial)
        fallback_text = attempt.fallback_text or fallback_text
        exhausted = len(first.excluded) + len(failed) > EXCLUDED_COUNT_MAX
        if not attempt.admitted or exhausted:
            raise AllCandidatesFailed(
                failures, fallback_text=fallback_text, denial=attempt.denial
            ) from failures[-1]
        attempt = first.follow(failed)
