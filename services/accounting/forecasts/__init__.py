"""Forecasts: what days, months and budgets will have cost, and what planned calls would."""

from __future__ import annotations
