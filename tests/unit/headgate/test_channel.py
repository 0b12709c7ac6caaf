from __future__ import annotations

import grpc.aio
import pytest

import headgate
from headgate import channel
from headgate.channel import Tls

KEY = "hg_k1_0123456789abcdef"


@pytest.mark.parametrize(
    "target",
    [
        *("localhost:7400", "127.0.0.1:7400", "127.8.9.1", "[::1]:7400", "::1", "LOCALHOST"),
        *("unix:/run/headgate.sock", "unix-abstract:headgate", "dns:localhost:7400"),
        *("dns:///localhost:7400", "ipv4:127.0.0.1:7400,127.0.0.1:7410", "ipv6:[::1]:7400"),
        "ipv6:%5B::1%5D:7400",
    ],
)
def test_a_target_on_this_machine_is_local(target: str) -> None:
    assert channel.is_local(target)


@pytest.mark.parametrize(
    "target",
    [
        *("gateway:7400", "10.0.0.1:7400", "localhost.example.com:7400", "[2001:db8::1]:7400"),
        *("dns:gateway:7400", "dns://10.0.0.53/localhost:7400", "xds:///headgate", "2001:db8::1"),
        "ipv4:127.0.0.1:7400,10.0.0.1:7400",
    ],
)
def test_a_target_elsewhere_is_not_local(target: str) -> None:
    assert not channel.is_local(target)


@pytest.mark.parametrize("target", [" ", "a b", "host:7400\n", "http://h:1", "https://h:1"])
def test_what_is_no_target_is_refused_at_once(target: str) -> None:
    with pytest.raises(ValueError, match="no gateway's address"):
        headgate.Client(target, api_key=KEY)


def test_tls_and_plain_text_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        headgate.Client("gateway:7400", api_key=KEY, tls=Tls(), insecure=True)


@pytest.mark.parametrize("key", ["", "a b", "a\n", "k\u00e9y", "\x7f"])
def test_what_is_no_key_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        headgate.Client("localhost:7400", api_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "tls", "insecure", "plain"),
    [
        ("localhost:7400", None, False, True),
        ("gateway:7400", None, False, False),
        ("gateway:7400", None, True, True),
        ("gateway:7400", Tls(), False, False),
        ("localhost:7400", Tls(), False, False),
    ],
)
async def test_keys_leave_this_machine_in_plain_text_only_if_told_so(
    target: str, tls: Tls | None, insecure: bool, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    insecure_channel, secure_channel = grpc.aio.insecure_channel, grpc.aio.secure_channel

    def open_plain(*args: object, **options: object) -> grpc.aio.Channel:
        opened.append("plain")
        return insecure_channel(*args, **options)  # type: ignore[arg-type]

    def open_secure(*args: object, **options: object) -> grpc.aio.Channel:
        opened.append("secure")
        return secure_channel(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(grpc.aio, "insecure_channel", open_plain)
    monkeypatch.setattr(grpc.aio, "secure_channel", open_secure)
    made = channel.open_channel(target, tls=tls, insecure=insecure)
    await made.close()

    assert opened == ["plain" if plain else "secure"]


def test_a_private_key_is_not_in_what_is_printed() -> None:
    assert "secret" not in repr(Tls(private_key=b"secret"))
