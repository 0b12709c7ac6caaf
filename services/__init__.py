"""The services behind the gateway. They know each other by their contracts only."""

from __future__ import annotations
