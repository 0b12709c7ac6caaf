"""The gateway: who is asking, which model first; composes the services behind it."""

from __future__ import annotations
