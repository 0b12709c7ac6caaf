"""TLS between processes: whom it keeps out, and certificates that are renewed under way."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import peers
from chassis.config import ConfigError
from chassis.errors import FailedPrecondition
from chassis.peers import open_channel
from tests.integration.chassis import toy
from tests.integration.chassis.conftest import Running, Start
from tests.integration.chassis.toy import TOKEN, Stub

NAMES = ("127.0.0.1", "localhost")
SHOWN = (("authorization", f"Bearer {TOKEN}"),)
YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


class Folder:
    """The three files of a process, in a folder of its own."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.fields = {
            "tls_certificate_file": path / "certificate.pem",
            "tls_key_file": path / "key.pem",
            "tls_client_ca_file": path / "authority.pem",
        }

    def write(self, leaf: trustme.LeafCert, authority: trustme.CA) -> None:
        self.write_authority(authority)
        self.write_key(leaf)
        self._replace(
            "tls_certificate_file", b"".join(each.bytes() for each in leaf.cert_chain_pems)
        )

    def write_key(self, leaf: trustme.LeafCert) -> None:
        self._replace("tls_key_file", leaf.private_key_pem.bytes())

    def write_authority(self, *authorities: trustme.CA) -> None:
        joined = b"".join(each.cert_pem.bytes() for each in authorities)
        self._replace("tls_client_ca_file", joined)

    def _replace(self, field: str, data: bytes) -> None:
        path = self.fields[field]
        draft = path.with_suffix(".new")
        draft.write_bytes(data)
        draft.replace(path)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Folder:
    folder = Folder(tmp_path / "server")
    folder.write(authority.issue_cert(*NAMES), authority)
    return folder


def credentials(
    trusted: trustme.CA, own: trustme.LeafCert | None = None
) -> grpc.ChannelCredentials:
    if own is None:
        return grpc.ssl_channel_credentials(trusted.cert_pem.bytes())
    chain = b"".join(each.bytes() for each in own.cert_chain_pems)
    return grpc.ssl_channel_credentials(
        trusted.cert_pem.bytes(), own.private_key_pem.bytes(), chain
    )


async def ask(running: Running, shown: grpc.ChannelCredentials) -> str:
    """Asks with a new connection; answers what came, or the code of the refusal."""
    # Else the library shares the connections of channels that look alike to it.
    options: Sequence[Any] = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.aio.secure_channel(f"localhost:{running.port}", shown, options=options)
    async with channel:
        try:
            answer = await Stub(channel).Echo(StringValue(value="x"), metadata=SHOWN, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    value: str = answer.value
    return value


async def test_only_peers_with_a_good_certificate_are_served(
    start: Start, files: Folder, authority: trustme.CA
) -> None:
    running = await start(**files.fields)
    stranger = trustme.CA()

    good = await ask(running, credentials(authority, authority.issue_cert("peer")))
    refused = [
        await ask(running, shown)
        for shown in (
            credentials(authority),
            credentials(authority, stranger.issue_cert("peer")),
            credentials(authority, authority.issue_cert("peer", not_after=YESTERDAY)),
            credentials(stranger, authority.issue_cert("peer")),
        )
    ]

    assert good == "x"
    assert refused == ["UNAVAILABLE"] * 4


@pytest.mark.parametrize(
    ("names", "values"),
    [(("elsewhere.example",), {}), (NAMES, {"not_after": YESTERDAY})],
    ids=["another name", "expired"],
)
async def test_a_server_with_a_wrong_certificate_is_not_asked(
    start: Start, files: Folder, authority: trustme.CA, names: Any, values: Any
) -> None:
    files.write(authority.issue_cert(*names, **values), authority)
    running = await start(**files.fields)

    assert await ask(running, credentials(authority, authority.issue_cert("peer"))) == (
        "UNAVAILABLE"
    )


async def test_certificates_are_renewed_while_a_stream_goes_on(
    start: Start, files: Folder, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "CERTIFICATE_CHECK_SECONDS", 0.0)
    running = await start(**files.fields)
    running.toy.failures["Count"] = FailedPrecondition("the end of it", "ENDED")
    stream = running.stub.Count(Int64Value(value=-2))
    assert (await stream.read()).value == 0

    other = trustme.CA()
    files.write(other.issue_cert(*NAMES), other)
    before = await ask(running, credentials(authority, authority.issue_cert("peer")))
    after = await ask(running, credentials(other, other.issue_cert("peer")))
    # The peers' own channel reads the files again, too, and connects anew.
    again = await running.stub.Echo(StringValue(value="y"), timeout=10, wait_for_ready=True)
    assert (await stream.read()).value == 1
    running.toy.go.set()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await stream.read()

    assert (before, after, again.value) == ("UNAVAILABLE", "x", "y")
    assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_files_that_do_not_fit_yet_change_nothing(
    start: Start, files: Folder, authority: trustme.CA, logged: io.StringIO
) -> None:
    running = await start(**files.fields)
    shown = credentials(authority, authority.issue_cert("peer"))
    renewed = authority.issue_cert(*NAMES)

    files.write_key(renewed)
    half_way = [await ask(running, shown) for _ in range(2)]
    files.write(renewed, authority)
    whole = await ask(running, shown)
    files.fields["tls_key_file"].unlink()
    gone = await ask(running, shown)

    assert (half_way, whole, gone) == (["x", "x"], "x", "x")
    log = logged.getvalue()
    assert log.count("certificates_not_renewed") == 2
    assert log.count("certificates_renewed") == 1
    assert "PRIVATE KEY" not in log


async def test_a_server_for_everybody_asks_for_no_certificate(
    start: Start, files: Folder, authority: trustme.CA
) -> None:
    running = await start(**files.fields, tls_require_client_certificate=False)

    assert await ask(running, credentials(authority)) == "x"
    assert await ask(running, credentials(trustme.CA())) == "UNAVAILABLE"
    with pytest.raises(grpc.aio.AioRpcError):
        await Stub(running.plain).Echo(StringValue(value="x"), timeout=10)


async def test_probes_in_plain_text_learn_whether_it_is_ready_and_nothing_else(
    start: Start, files: Folder
) -> None:
    running = await start(**files.fields, probe_address="127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.server.probe_port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await Stub(channel).Echo(StringValue(value="x"), metadata=SHOWN, timeout=10)
        await running.server.drain()
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("field", ["tls_certificate_file", "tls_key_file", "tls_client_ca_file"])
async def test_files_that_never_fitted_stop_the_start(
    start: Start, files: Folder, field: str
) -> None:
    files.fields[field].write_text("no PEM")

    with pytest.raises(ConfigError, match="the TLS files do not fit each other"):
        await start(**files.fields)
    with pytest.raises(ConfigError, match="the TLS files do not fit each other"):
        open_channel(("127.0.0.1:1",), toy.settings(**files.fields))
