"""The gateway's HTTP face: toggles by OFREP, and the status for web pages."""

from __future__ import annotations
