"""What every server process needs and that has no business word."""

from __future__ import annotations
