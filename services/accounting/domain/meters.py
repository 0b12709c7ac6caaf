"""What is metered. Meters are disjoint: nothing is counted in two of them."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

# No call moves a billion of anything; bounded so that a day's sums of a meter fit int64.
UNIT_COUNT_MAX: Final = 10**9


class Meter(enum.IntEnum):
    """What is metered; the numbers are the contract's."""

    INPUT = 1
    CACHE_READ = 2
    CACHE_WRITE_5M = 3
    CACHE_WRITE_1H = 4
    OUTPUT = 5
    REASONING = 6
    AUDIO_INPUT = 7
    AUDIO_CACHE_READ = 8
    AUDIO_OUTPUT = 9
    IMAGE_INPUT = 10
    IMAGE_CACHE_READ = 11
    IMAGE_OUTPUT = 12
    IMAGE = 13
    CHARACTER = 14
    AUDIO_MS = 15
    VIDEO_MS = 16
    WEB_SEARCH = 17
    FILE_SEARCH = 18
    PAGE = 19
    CODE_SESSION = 20
    # The call itself. Nobody reports it: each call that used anything counts once.
    CALL = 21


# Those that count input tokens: what a tier's threshold is compared with.
INPUT_TOKENS: Final = (
    Meter.INPUT,
    Meter.CACHE_READ,
    Meter.CACHE_WRITE_5M,
    Meter.CACHE_WRITE_1H,
    Meter.AUDIO_INPUT,
    Meter.AUDIO_CACHE_READ,
    Meter.IMAGE_INPUT,
    Meter.IMAGE_CACHE_READ,
)
OUTPUT_TOKENS: Final = (
    Meter.OUTPUT,
    Meter.REASONING,
    Meter.AUDIO_OUTPUT,
    Meter.IMAGE_OUTPUT,
)
# Those that a report may have, in the order of the contract's fields.
REPORTED: Final = tuple(meter for meter in Meter if meter is not Meter.CALL)
# Their names in the contract and in the database.
METER_FIELDS: Final = tuple(
    {
        Meter.IMAGE: "image_count",
        Meter.CHARACTER: "character_count",
        Meter.AUDIO_MS: "audio_ms",
        Meter.VIDEO_MS: "video_ms",
        Meter.WEB_SEARCH: "web_search_count",
        Meter.FILE_SEARCH: "file_search_count",
        Meter.PAGE: "page_count",
        Meter.CODE_SESSION: "code_session_count",
    }.get(meter, f"{meter.name.lower()}_token_count")
    for meter in REPORTED
)
_INPUT_PLACES: Final = tuple(meter - 1 for meter in INPUT_TOKENS)
_TOKEN_PLACES: Final = tuple(meter - 1 for meter in (*INPUT_TOKENS, *OUTPUT_TOKENS))


class MeterCounts(NamedTuple):
    """Units of each meter, in the order of `Meter`. None: not reported, which is not zero."""

    input: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_cache_read: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_cache_read: int | None = None
    image_output: int | None = None
    image: int | None = None
    character: int | None = None
    audio_ms: int | None = None
    video_ms: int | None = None
    web_search: int | None = None
    file_search: int | None = None
    page: int | None = None
    code_session: int | None = None

    @property
    def reported(self) -> bool:
        """Whether at least one meter was reported, be it as zero."""
        return self != NO_METERS

    @property
    def input_total(self) -> int:
        """Input tokens of all kinds: what a price tier's threshold is compared with."""
        return sum(self[place] or 0 for place in _INPUT_PLACES)

    @property
    def token_total(self) -> int | None:
        """Tokens of all kinds. None: no meter of tokens was reported."""
        counts = [self[place] for place in _TOKEN_PLACES]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None


NO_METERS: Final = MeterCounts()
