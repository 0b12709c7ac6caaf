"""Which HTTP request stands for which RPC, read from the contracts.

The rules are those of `google.api.http`: variables of the path, the body, and what is left as
query parameters. A variable is one segment of the path; additional bindings are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

_VARIABLE: Final = re.compile(r"\{([a-z0-9_.]+)\}")
WHOLE_BODY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One RPC and the request that stands for it."""

    method: MethodDescriptor
    # GET, POST, PUT, PATCH or DELETE.
    verb: str
    # Such as "/v1/alerts/{alert_id}:resolve".
    template: str
    # The field that the body is; "*": the whole message; empty: there is none.
    body: str

    @property
    def rpc(self) -> str:
        """The RPC's full name, as gRPC has it in its paths."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def request(self) -> Descriptor:
        """The message that is asked."""
        return self.method.input_type

    @property
    def response(self) -> Descriptor:
        """The message that is answered, or each of them."""
        return self.method.output_type

    @property
    def streams(self) -> bool:
        """Whether there are answers without end."""
        return bool(self.method.server_streaming)

    @property
    def is_of_calls(self) -> bool:
        """Whether it is one of the backends' RPCs, about a call that has an id."""
        return self.method.containing_service.name == "GatewayService"

    @property
    def deprecated(self) -> bool:
        """Whether callers should turn to another one."""
        return bool(self.method.GetOptions().deprecated)

    @property
    def variables(self) -> tuple[str, ...]:
        """The fields that the path holds, as dotted paths."""
        return tuple(_VARIABLE.findall(self.template))

    @property
    def path(self) -> str:
        """The template with each variable called by its last name, as documents want it."""
        return _VARIABLE.sub(lambda found: f"{{{last_name(found[1])}}}", self.template)


def last_name(field: str) -> str:
    """Returns the last part of a field's dotted path."""
    return field.rpartition(".")[2]


def read_bindings(services: Iterable[ServiceDescriptor]) -> list[Binding]:
    """Returns the bindings of all methods, those with the longest fixed ends first.

    Raises ValueError when a method declares none, or two declare the same.
    """
    found = [_read(method) for service in services for method in service.methods]
    seen: dict[tuple[str, str], Binding] = {}
    for binding in found:
        key = (binding.verb, _VARIABLE.sub("{}", binding.template))
        if key in seen:
            raise ValueError(f"{binding.rpc} and {seen[key].rpc} have the same path")
        seen[key] = binding
    # A variable also matches what looks like one with a verb behind it.
    return sorted(found, key=lambda b: (":" not in b.template, -len(b.template)))


def _read(method: MethodDescriptor) -> Binding:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None:
        raise ValueError(f"{method.full_name} declares no HTTP path")
    return Binding(method=method, verb=verb.upper(), template=getattr(rule, verb), body=rule.body)
