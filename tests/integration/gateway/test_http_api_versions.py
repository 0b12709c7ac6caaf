"""Two versions of an API at one HTTP face, and what clients of the old one are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest_asyncio
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from starlette.applications import Starlette

from gateway.web.rest.transcoder import Transcoder
from tests.toys import DEPRECATION, OLD_TOY, make_service


def serve(service: ServiceDescriptor) -> grpc.GenericRpcHandler:
    """A server of toys that says which version of it was asked."""
    (method,) = service.methods
    make = message_factory.GetMessageClass(method.output_type)

    async def answer(request: Any, context: Any) -> Any:
        if request.toy_id == "none":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such toy")
        return make(toy_id=f"{request.toy_id} of {service.file.package}")

    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    return grpc.method_handlers_generic_handler(service.full_name, {method.name: handler})


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    services = [
        make_service("v1", "/v1/toys/{toy_id}", deprecated=True),
        make_service("v2", "/v2/toys/{toy_id}"),
    ]
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([serve(each) for each in services])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        transcoder = Transcoder(channel, services, deprecations={OLD_TOY: DEPRECATION})
        transport = httpx2.ASGITransport(Starlette(routes=transcoder.routes()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://toys") as client:
            yield client
    await server.stop(None)


async def test_each_version_answers_at_its_path_and_the_old_one_says_until_when(
    http: httpx2.AsyncClient,
) -> None:
    old, new = await http.get("/v1/toys/bear"), await http.get("/v2/toys/bear")
    missing = await http.get("/v1/toys/none")

    assert old.json() == {"toyId": "bear of toys.v1"}
    assert new.json() == {"toyId": "bear of toys.v2"}
    for answer in (old, missing):
        assert answer.headers["deprecation"] == "@1782864000"
        assert answer.headers["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
        assert answer.headers["link"] == '</v2/toys/{toy_id}>; rel="successor-version"'
    assert missing.status_code == 404
    assert not {"deprecation", "sunset", "link"} & set(new.headers)
