"""The OpenAPI 3.1 document of what the transcoder serves, from the same descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPMethod
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from gateway.web.rest import schemas
from gateway.web.rest.bindings import WHOLE_BODY, Binding, last_name, read_bindings
from gateway.web.rest.deprecations import DEPRECATIONS, Deprecations, find_deprecation
from gateway.web.rest.schemas import Schema, describe_field, find_field
from gateway.web.rest.tags import Tags, find_versioned_paths

# By the full name of a service, method, message or field.
Comments = Mapping[str, str]

_DESCRIPTION: Final = (
    "Every RPC of the gateway as HTTP and JSON. Messages are in protobuf's JSON form: 64-bit "
    "integers are strings, times are RFC 3339, durations are seconds with an `s`. Send an API key "
    "or a session as `authorization: Bearer ...`. A failure is `application/problem+json`. Why "
    "something is changed may stand in the header `headgate-reason`; the audit keeps it."
)
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "What failed, as RFC 9457 says.",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "Branch on this: see the page of errors."},
        "code": {"type": "string", "description": "The RPC's status."},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "violations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
    },
}


def build_document(
    services: Iterable[ServiceDescriptor],
    comments: Comments,
    *,
    version: str,
    deprecations: Deprecations = DEPRECATIONS,
) -> dict[str, Any]:
    """Returns the document. `comments` may be empty: then nothing is described."""
    services = list(services)
    bindings = read_bindings(services)
    versioned = find_versioned_paths(bindings)
    paths: dict[str, dict[str, Any]] = {}
    for binding in sorted(bindings, key=lambda b: b.path):
        operation = _describe(binding, comments, Tags(binding, versioned))
        deprecation = find_deprecation(binding, deprecations)
        if deprecation is not None:
            operation["deprecated"] = True
            operation["description"] = f"{deprecation.said} {operation['description']}".strip()
        paths.setdefault(binding.path, {})[binding.verb.lower()] = operation
    roots = [d for b in bindings for d in (b.request, b.response)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headgate", "version": version, "description": _DESCRIPTION},
        "tags": [
            {"name": service.name, "description": comments.get(service.full_name, "")}
            for service in services
        ],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _PROBLEM, **schemas.describe_messages(roots, comments)},
        },
    }


def _describe(binding: Binding, comments: Comments, tags: Tags) -> dict[str, Any]:
    method = binding.method
    said = comments.get(method.full_name, "")
    operation: dict[str, Any] = {
        "operationId": method.name[0].lower() + method.name[1:],
        "tags": [method.containing_service.name],
        "summary": re.split(r"(?<=[.;:])\s", said, maxsplit=1)[0].rstrip(".;:") or method.name,
        "description": said,
        "responses": _responses(binding, tags),
    }
    parameters = [
        *_path_parameters(binding, comments),
        *_query_parameters(binding, comments),
        *_header_parameters(binding, tags),
    ]
    if parameters:
        operation["parameters"] = parameters
    if binding.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(binding)}},
        }
    return operation


def _responses(binding: Binding, tags: Tags) -> dict[str, Any]:
    media = "application/x-ndjson" if binding.streams else "application/json"
    content = {media: {"schema": schemas.refer(binding.response)}}
    if binding.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer: dict[str, Any] = {
        "description": "A line for each message." if binding.streams else "The answer.",
        "content": content,
    }
    responses = {
        "200": answer,
        "default": {"description": "The request failed.", "content": problem},
    }
    if tags.answers_one:
        answer["headers"] = {"ETag": {"schema": {"type": "string"}}}
    if binding.verb == HTTPMethod.GET and tags.answers_one:
        responses["304"] = {"description": "The client has it: see `If-None-Match`."}
    if tags.expectation is not None:
        responses["412"] = {"description": "It has changed since.", "content": problem}
    return responses


def _header_parameters(binding: Binding, tags: Tags) -> Iterator[dict[str, Any]]:
    said = {
        "If-None-Match": "Tags that the client has: an answer with one of them is a 304."
        if binding.verb == HTTPMethod.GET and tags.answers_one
        else "",
        "If-Match": "Tag of what is changed: if it has changed since, nothing happens."
        if tags.expectation is not None
        else "",
    }
    for name, description in said.items():
        if description:
            schema = {"type": "string"}
            yield {"name": name, "in": "header", "schema": schema, "description": description}


def _body(binding: Binding) -> Schema:
    if binding.body == WHOLE_BODY:
        return schemas.refer(binding.request)
    return describe_field(binding.request.fields_by_name[binding.body], {})


def _path_parameters(binding: Binding, comments: Comments) -> Iterator[dict[str, Any]]:
    for name in binding.variables:
        field = find_field(binding.request, name)
        schema: Schema = {**describe_field(field, comments), "minLength": 1}
        yield {"name": last_name(name), "in": "path", "required": True, "schema": schema}


def _query_parameters(binding: Binding, comments: Comments) -> Iterator[dict[str, Any]]:
    if binding.body == WHOLE_BODY:
        return
    taken = {binding.body, *(name.partition(".")[0] for name in binding.variables)}
    for field in binding.request.fields:
        if field.name not in taken:
            yield from _query(field, "", comments)


def _query(field: FieldDescriptor, prefix: str, comments: Comments) -> Iterator[dict[str, Any]]:
    inside = field.message_type
    if inside is not None and not schemas.is_scalar(inside):
        if not field.is_repeated:
            for each in inside.fields:
                yield from _query(each, f"{prefix}{field.json_name}.", comments)
        return
    yield {
        "name": prefix + field.json_name,
        "in": "query",
        "schema": describe_field(field, comments),
        "description": comments.get(field.full_name, ""),
    }
