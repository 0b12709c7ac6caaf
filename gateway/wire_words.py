"""What a caller says of the words that its fallback text is to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.checks import Checks
from gateway.domain.locales import LOCALE_LENGTH_MAX, parse_locale
from gateway.domain.templates import VARIABLE_NAME

VARIABLE_COUNT_MAX: Final = 16
NAME_LENGTH_MAX: Final = 64
VALUE_LENGTH_MAX: Final = 512
# All names and values together, in UTF-8.
BYTES_MAX: Final = 4_096
NONE: Final[Mapping[str, str]] = {}
# What people lay texts out with.
LAYOUT: Final = str.maketrans("\n\t", "  ")


def read_locale(checks: Checks, field: str, tag: str) -> str:
    """Returns a locale in its usual spelling; an empty one stays empty."""
    if not tag:
        return ""
    parsed = parse_locale(tag)
    if parsed is None:
        checks.violate(
            field, f"send a tag of BCP 47 such as de-AT, at most {LOCALE_LENGTH_MAX} characters"
        )
    return parsed or ""


def read_variables(checks: Checks, variables: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the values by their names."""
    if len(variables) > VARIABLE_COUNT_MAX:
        checks.violate(
            "variables",
            f"has {len(variables)}; at most {VARIABLE_COUNT_MAX} are allowed",
        )
        return NONE
    size = 0
    for name, value in variables.items():
        checks.text("variables", name, max_length=NAME_LENGTH_MAX, pattern=VARIABLE_NAME)
        checks.text(
            f"variables[{name[:NAME_LENGTH_MAX]!r}]",
            # Spaces at the ends of a value are the caller's business.
            value.translate(LAYOUT).strip(),
            min_length=0,
            max_length=VALUE_LENGTH_MAX,
        )
        size += len(name.encode()) + len(value.encode())
    if size > BYTES_MAX:
        checks.violate("variables", f"take {size} bytes together; at most {BYTES_MAX}")
    return dict(variables)
