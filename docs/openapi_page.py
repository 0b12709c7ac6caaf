"""Generates the OpenAPI document of the gateway, with the comments of the contracts."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from gateway.web.app import SERVICES
from gateway.web.rest.openapi import build_document
from protos.generate import PROTOS, write_image

# The parts of a descriptor that have comments and parts of their own.
_PARTS = ("service", "method", "message_type", "nested_type", "field", "enum_type", "value")


def render_openapi() -> str:
    """Returns the document as JSON."""
    document = build_document(SERVICES, dict(_read_comments()), version=_version())
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _version() -> str:
    project = tomllib.loads((PROTOS.parent / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def _read_comments() -> Iterator[tuple[str, str]]:
    """Yields what the contracts say, by the full name of what it is said of."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "contracts.binpb"
        write_image(image)
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    for file in files.file:
        for location in file.source_code_info.location:
            if location.leading_comments:
                yield _name(file, location.path), " ".join(location.leading_comments.split())


def _name(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    names = [file.package]
    place: Any = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        part = place.DESCRIPTOR.fields_by_number[number].name
        if part not in _PARTS:
            break
        place = getattr(place, part)[index]
        names.append(place.name)
    return ".".join(names)
