"""Toggles in files. Guardrails, which nobody changes, are not among them.

toggles:
  - id: ai-generation
    description: Calls to AI models are admitted.
    enabled: true
    rules:                      # where it is different; rules that are not here go
      - {org: acme, operation: chat, enabled: false}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headgate.api.common.v1 import toggle_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli.policies.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

_FIELDS: Final = ("id", "description", "enabled", "rules")
_RULE_FIELDS: Final = ("org", "operation", "enabled")


def _read(reader: Reader, path: str, given: Any) -> toggle_pb2.Toggle:
    fields = reader.fields(path, given, _FIELDS)
    return toggle_pb2.Toggle(
        toggle_id=reader.text(path, fields, "id", required=True),
        description=reader.text(path, fields, "description"),
        enabled=reader.flag(path, fields, "enabled", required=True),
        rules=[
            _read_rule(reader, f"{path}.rules[{place}]", each)
            for place, each in enumerate(reader.members(path, fields, "rules"))
        ],
    )


def _read_rule(reader: Reader, path: str, given: Any) -> toggle_pb2.ToggleRule:
    fields = reader.fields(path, given, _RULE_FIELDS)
    return toggle_pb2.ToggleRule(
        org=reader.text(path, fields, "org"),
        operation=reader.text(path, fields, "operation"),
        enabled=reader.flag(path, fields, "enabled", required=True),
    )


def _write(toggle: toggle_pb2.Toggle) -> dict[str, Any]:
    told: dict[str, Any] = {"id": toggle.toggle_id}
    if toggle.description:
        told["description"] = toggle.description
    told["enabled"] = _flag(toggle.enabled)
    rules = sorted(toggle.rules, key=lambda rule: (rule.org, rule.operation))
    if rules:
        told["rules"] = [_write_rule(rule) for rule in rules]
    return told


def _write_rule(rule: toggle_pb2.ToggleRule) -> dict[str, str]:
    place = {"org": rule.org, "operation": rule.operation}
    return {name: value for name, value in place.items() if value} | {
        "enabled": _flag(rule.enabled)
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _fetch(session: Session) -> Iterable[toggle_pb2.Toggle]:
    answer = session.ask(lambda admin: admin.ListToggles, admin_pb2.ListTogglesRequest())
    return [each for each in answer.toggles if not each.locked]


def _delete(request: policy_admin_pb2.ApplyTogglesRequest, toggle: toggle_pb2.Toggle) -> None:
    request.deleted_toggle_ids.append(toggle.toggle_id)


TOGGLES: Final = Kind(
    name="toggles",
    key=lambda toggle: toggle.toggle_id,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
    may_go=lambda toggle: not toggle.shipped,
)
