"""The one error of this package."""

from __future__ import annotations


class LocalError(Exception):
    """Something on this machine is in the way; the message is one line and names the fix."""
