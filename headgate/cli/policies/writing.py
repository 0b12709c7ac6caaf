"""Policies as text: the same policies are always the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from headgate.cli.policies.documents import API_VERSION


class _Dumper(yaml.SafeDumper):
    """Writes every value as a text, without quotes where it needs none."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as its base has it

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(bool, lambda dumper, flag: _write_text(dumper, str(flag).lower()))
_Dumper.add_representer(int, lambda dumper, number: _write_text(dumper, str(number)))


def write_policies(sections: Mapping[str, list[dict[str, Any]]]) -> str:
    """Returns a document of these sections; those without members are left out."""
    content: dict[str, Any] = {"apiVersion": API_VERSION}
    content.update({name: members for name, members in sections.items() if members})
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)
