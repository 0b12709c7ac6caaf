"""Policies as files: orgs, limits, routes, templates, toggles, prices and channels in one format.

A file is read with the line of every value, checked as a whole, compared with what is in force,
and applied service by service: each as a whole or not at all.
"""

from __future__ import annotations
