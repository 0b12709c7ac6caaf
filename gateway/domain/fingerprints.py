"""Tells whether two calls with one id are the same call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from gateway.domain.calls import Call

# Grows when the canonical form changes: fingerprints of two forms never agree by accident.
FORM = "1"


def fingerprint(call: Call) -> bytes:
    """Returns the SHA-256 of what the caller said, in canonical form.

    Labels and excluded candidates count as sets. Candidates, prices and deadlines are ours and do
    not count; nor does the key, because another key of the org may repeat the call. Texts must not
    hold NUL, which separates them.
    """
    return hashlib.sha256("\0".join(_canonical(call)).encode()).digest()


def _canonical(call: Call) -> Iterator[str]:
    yield FORM
    yield call.org
    yield call.call_id
    yield call.operation
    yield call.parent_call_id
    yield str(call.input_token_count)
    yield str(call.input_byte_count)
    bound = call.max_output_token_count
    yield "" if bound is None else str(bound)
    # Counts before lists: where one list ends must not be a matter of its contents.
    excluded = {(each.provider, each.model) for each in call.excluded_candidates}
    yield str(len(excluded))
    for provider, model in sorted(excluded):
        yield provider
        yield model
    yield str(len(call.labels))
    for key in sorted(call.labels):
        yield key
        yield call.labels[key]
