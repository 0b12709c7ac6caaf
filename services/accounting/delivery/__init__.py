"""Delivery: each event reaches each channel that wants it, at least once.

A delivery is claimed by moving its due time ahead, so that a claimer that dies is replaced when
its lease ends. Whoever was replaced can't write down how its attempt went any more.
"""

from __future__ import annotations
