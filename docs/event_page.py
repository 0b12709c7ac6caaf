"""Renders docs/events.md from the catalogue of events."""

from __future__ import annotations

import json
from typing import Final

from services.accounting.domain.event_catalogue import CATALOGUE
from services.accounting.domain.event_types import EventType

HEAD: Final = """# Events

What happened that somebody may want to hear of. Each event is written once, in the transaction
that caused it, and goes to every channel that wants it, at least once. `headgate alerts events`
lists them, `headgate channels list` says where they go;
[operations](operations.md#alerts-and-events) tells more.

A channel's `types` are names from this page, or their beginnings up to a dot: `cost` is all that
begins with `cost.`. Within one version of a type facts are only added; ignore those that you
don't know. Amounts are integers in the unit that the name ends in.

## Told again or not

- A threshold (`cost.budget.warning`, `cost.budget.exceeded`) compares what *ended* calls have
  used; what is only held crosses none. It is told once for each limit, threshold and period,
  however many replicas see it. It is not told again in that period, whether calls are credited
  and cross it anew, the cap is raised, or the alert was resolved. The next period tells it again.
- An anomaly is told once a day, `cost.forecast.high` once for each counter and period.
- Any other condition is one alert while it lasts. It is told when it is raised, after 60 minutes
  if it still lasts, and at once when it becomes more severe; after somebody has acknowledged it,
  only when it becomes more severe. What has ended and comes back is a new alert.

Events are kept for 90 days (`HEADGATE_ACCOUNTING_EVENT_RETENTION_DAYS`), what still waits for a
channel for longer; alerts stay.

## As they come

`WatchEvents`, and over HTTP `GET /v1/events:watch`, is a stream of the same events, of an org or
all, of some types or all, muted ones too. `headgate events watch` shows it. Each message has a
token (`resume_token`); whoever goes on with the last one, at any gateway, misses no event and gets
none twice, as long as events are kept. With `accept: text/event-stream` they are server-sent
events, whose `id` is the token, and `Last-Event-ID` goes on. The stream ends within two seconds
when its key or session does, and is refused at once when 1,000 watch at that gateway. An event is
there within a tenth of a second, and a slow reader waits for nobody and costs no memory.

## Webhooks

A webhook gets a `POST` as [Standard Webhooks](https://www.standardwebhooks.com) has it.
`webhook-id` is the event's id, the same in every repetition: drop what you have seen.
`webhook-signature` is `v1,` and the base64 of HMAC-SHA256, by the secret that was shown when the
channel was made, over `webhook-id.webhook-timestamp.body`; after a rotation there are two, by the
new secret and by the old one. Refuse what is older than five minutes. Any status of 200 to 299
takes the event; 410 says that nobody wants it any more. Redirects are not followed. An answer has
to come within ten seconds.

```json
{example}
```
"""
_BODY: Final = {
    "type": "cost.budget.warning",
    "timestamp": "2026-11-20T09:30:11.123456Z",
    "version": 1,
    "severity": "warning",
    "org": "acme",
    "subject": "limit/acme-monthly",
    "title": "80 % of acme-monthly is used",
    "alert_id": 17,
    "data": CATALOGUE["cost.budget.warning"].example,
}


def render_events(mark: str) -> str:
    """Renders every type with its facts and an example."""
    example = json.dumps(_BODY, indent=2, ensure_ascii=False)
    parts = [f"{mark}\n\n{HEAD.replace('{example}', example)}"]
    parts += map(_render_type, CATALOGUE.values())
    return "\n".join(parts)


def _render_type(kind: EventType) -> str:
    lines = [
        f"## {kind.name}",
        "",
        f"Version {kind.version}, {kind.severity.name.lower()}. {kind.meaning}",
        "",
        "| fact | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in kind.facts.items()),
        "",
        "```json",
        json.dumps(kind.example, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"
