"""Client of Headgate: asks before each AI call, reports after it."""

from __future__ import annotations
