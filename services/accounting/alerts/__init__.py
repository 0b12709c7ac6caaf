"""Events and alerts: what happened, what is wrong, and who has taken it on.

Whoever notices something calls `Alerts.notice` in the transaction in which it noticed it; the
event, its deliveries and the alert are written there or not at all.
"""

from __future__ import annotations
