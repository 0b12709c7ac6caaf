"""Tells whether two calls with one id are the same call."""

from __future__ import annotations

import hashlib

from gateway.domain.calls import Call

# Grows when the canonical form changes: fingerprints of two forms never agree by accident. Calls
# that say nothing new keep the old form, so that gateways of two releases agree on them.
FORM = "1"
FORM_WITH_DIMENSIONS = "2"
FORM_WITH_UNITS = "3"


def fingerprint(call: Call) -> bytes:
    """Returns the SHA-256 of what the caller said, in canonical form.

    Labels, dimensions and excluded candidates count as sets. Candidates, prices and deadlines are
    ours and do not count; nor does the key, because another key of the org may repeat the call.
    Texts must not hold NUL, which separates them.
    """
    return hashlib.sha256("\0".join(_canonical(call)).encode()).digest()


def _canonical(call: Call) -> list[str]:
    bound = call.max_output_token_count
    has_units = bool(call.unit_bounds)
    has_more = bool(has_units or call.dimensions or call.priority)
    form = FORM_WITH_DIMENSIONS if has_more else FORM
    words = [
        FORM_WITH_UNITS if has_units else form,
        call.org,
        call.call_id,
        call.operation,
        call.parent_call_id,
        str(call.input_token_count),
        str(call.input_byte_count),
        "" if bound is None else str(bound),
    ]
    # Its length first: where the list ends must not be a matter of its contents.
    excluded = {(each.provider, each.model) for each in call.excluded_candidates}
    words.append(str(len(excluded)))
    for candidate in sorted(excluded):
        words.extend(candidate)
    if has_more:
        words += [str(call.priority), str(len(call.dimensions))]
        for dimension in sorted(call.dimensions.items()):
            words.extend(dimension)
    if has_units:
        words.append(str(len(call.unit_bounds)))
        for name, bound in sorted(call.unit_bounds.items()):
            words += [name, str(bound)]
    for label in sorted(call.labels.items()):
        words.extend(label)
    if call.credential != call.org:
        # One word more is no label: they come in pairs.
        words.append(call.credential)
    return words
