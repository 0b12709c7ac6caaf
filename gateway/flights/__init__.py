"""Identical calls that are under way at once: one is made, the others get its answer."""
