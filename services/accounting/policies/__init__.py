"""What staff write as files: prices and channels, all or none."""

from __future__ import annotations
