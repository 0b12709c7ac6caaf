"""Contracts of no service of ours, to show what is served of any."""

from __future__ import annotations

import datetime as dt
from typing import Final

from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from gateway.web.rest.deprecations import Deprecation

OLD_TOY: Final = "/toys.v1.ToyService/GetToy0"
DEPRECATION: Final = Deprecation(
    since=dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
    end=dt.datetime(2027, 7, 1, tzinfo=dt.UTC),
    successor="/v2/toys/{toy_id}",
)


def make_service(version: str, *paths: str, deprecated: bool = False) -> ServiceDescriptor:
    """A service of a version of its own, with one method for each path."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"toys/{version}/{len(paths)}.proto", package=f"toys.{version}", syntax="proto3"
    )
    message = file.message_type.add(name="Toy")
    message.field.add(name="toy_id", number=1, type=9, label=1)
    service = file.service.add(name="ToyService")
    for number, path in enumerate(paths):
        method = service.method.add(
            name=f"GetToy{number}",
            input_type=f".toys.{version}.Toy",
            output_type=f".toys.{version}.Toy",
        )
        method.options.deprecated = deprecated
        if path:
            method.options.Extensions[annotations_pb2.http].get = path
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"toys.{version}.ToyService")
