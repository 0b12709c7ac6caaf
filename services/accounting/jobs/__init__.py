"""Jobs of accounting. Each is harmless when run twice, at once, or never."""

from __future__ import annotations
