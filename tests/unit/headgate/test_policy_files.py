"""Files of policies are read as they are written, or refused with every place that is wrong."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from headgate.api.common.v1 import call_pb2, channel_pb2, limit_pb2, price_pb2, toggle_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.cli import main
from headgate.cli.policies import channels, limits, orgs, templates, toggles
from headgate.cli.policies.documents import parse_document
from headgate.cli.policies.kinds import Kind
from headgate.cli.policies.prices import PRICES
from headgate.cli.policies.reading import Reader
from headgate.cli.policies.routes import ROUTES
from headgate.cli.policies.sets import KINDS, read_policies
from headgate.cli.policies.writing import write_policies

OUTPUT_ONLY = {"version", "updater"}
HEAD = "apiVersion: headgate/v1\n"
LINE_BREAKS = "\n"
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=40)


def read(kind: Kind[Any], text: str) -> Any:
    """Reads the one member of a section."""
    document = parse_document("a file", (HEAD + text).encode())
    reader = Reader()
    (member,) = document.content[kind.name]
    message = kind.read(reader, f"{kind.name}[0]", member)
    assert reader.wrong == []
    return message


def is_written_again(kind: Kind[Any], message: Message) -> None:
    written = write_policies({kind.name: [kind.write(message)]})
    document = parse_document("a file", written.encode())
    reader = Reader()
    again = kind.read(reader, "x", document.content[kind.name][0])
    assert reader.wrong == []
    assert kind.write(again) == kind.write(message)


@pytest.mark.parametrize("module", [limits, orgs, toggles, templates, channels])
def test_the_example_of_each_kind_is_read(module: Any) -> None:
    example = module.__doc__.partition("\n\n")[2].replace("# ", " # ")
    (kind,) = [each for each in KINDS.values() if each.name in example.partition(":")[0]]

    message = read(kind, example)

    assert kind.key(message)


def test_a_limit_is_read_to_the_last_field() -> None:
    limit = read(limits.LIMITS, limits.__doc__.partition("\n\n")[2])

    assert (limit.cap, dict(limit.scope)) == (250 * 10**9, {"org": "acme"})
    assert limit.calendar.period == limit_pb2.CALENDAR_PERIOD_MONTH
    assert (limit.calendar.time_zone, limit.calendar.month_anchor_day) == ("Europe/Amsterdam", 15)
    assert limit.mode == limit_pb2.LIMIT_MODE_SHADOW
    assert (limit.shares.default_percent, limit.shares.sheddable_percent) == (90, 50)
    assert list(limit.alert_percents) == [80, 100]
    assert limit.end_time.ToJsonString() == "2026-06-01T00:00:00Z"


@given(
    limit_id=NAMES,
    owner=TEXTS,
    cap=st.integers(0, 10**18),
    metric=st.sampled_from([1, 2, 3]),
    window=st.integers(0, 4),
    size=st.integers(1, 31 * 86_400),
    scope=st.dictionaries(NAMES, TEXTS.filter(bool), max_size=3),
)
def test_every_limit_is_written_and_read_again(window: int, size: int, **fields: Any) -> None:
    limit = limit_pb2.Limit(**fields)
    if window == 0:
        limit.calendar.period = limit_pb2.CALENDAR_PERIOD_WEEK
        limit.calendar.week_start_day = size % 7 + 1
    elif window == 1:
        limit.rolling.duration.FromSeconds(size)
        limit.rolling.slot_count = 3
    elif window == 2:
        limit.bucket.refill_amount = size
        limit.bucket.refill_duration.FromMilliseconds(size)
    elif window == 3:
        limit.interval.start_time.FromSeconds(size)
        limit.interval.end_time.FromMicroseconds(10**12 + size)
    else:
        limit.total.SetInParent()

    written = write_policies({"limits": [limits.LIMITS.write(limit)]})
    again = read(limits.LIMITS, written.removeprefix(HEAD))
    limit.mode = limit_pb2.LIMIT_MODE_ENFORCE
    if window == 0:
        limit.calendar.time_zone = "UTC"
        limit.calendar.week_start_day = limit.calendar.week_start_day % 8
        again.calendar.week_start_day = again.calendar.week_start_day or 1

    assert again == limit


@given(
    rates=st.dictionaries(st.sampled_from(range(1, 21)), st.integers(0, 10**15), min_size=1),
    minute=st.integers(0, 1_440),
)
def test_every_price_is_written_and_read_again(rates: dict[Any, int], minute: int) -> None:
    meters = [
        price_pb2.MeterPrice(
            meter=meter,
            nanos_per_million=nanos,
            tiers=[price_pb2.PriceTier(input_token_threshold=5, nanos_per_million=nanos)],
        )
        for meter, nanos in sorted(rates.items())
    ]
    variant = price_pb2.PriceVariant(
        service_tier="batch", start_minute=1, end_minute=minute, meters=meters
    )
    price = price_pb2.ModelPrice(
        provider="ours", model="a/b", org="acme", meters=meters, variants=[variant]
    )

    written = write_policies({"prices": [PRICES.write(price)]})

    assert read(PRICES, written.removeprefix(HEAD)) == price


def test_every_field_of_a_route_is_in_its_file() -> None:
    route = admin_pb2.Route(
        candidates=[call_pb2.Candidate(provider="ours", model="a/b")],
        weights=[7],
        tags=["eu"],
        baseline_model=call_pb2.Candidate(provider="ours", model="c"),
        estimate_mode=gateway_pb2.ESTIMATE_MODE_ADAPTIVE,
    )
    values = {
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_INT32: 130,
        FieldDescriptor.CPPTYPE_INT64: 130,
        FieldDescriptor.CPPTYPE_STRING: "x",
    }
    for field in route.DESCRIPTOR.fields:
        if field.cpp_type in values and not field.is_repeated and field.name not in OUTPUT_ONLY:
            setattr(route, field.name, values[field.cpp_type])

    written = write_policies({"routes": [ROUTES.write(route)]})

    assert read(ROUTES, written.removeprefix(HEAD)) == route


@given(description=TEXTS, org=TEXTS.filter(bool))
def test_every_toggle_is_written_and_read_again(description: str, org: str) -> None:
    rules = [toggle_pb2.ToggleRule(org=org, enabled=True)]
    is_written_again(
        toggles.TOGGLES,
        toggle_pb2.Toggle(toggle_id="x", description=description, rules=rules),
    )


@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters="\n\t")
    )
)
def test_every_text_is_written_and_read_again(text: str) -> None:
    written = write_policies({"limits": [{"id": text, text or "x": [text]}]})

    (member,) = parse_document("a file", written.encode()).content["limits"]

    assert member["id"] == text or not text
    assert member[text or "x"] == [text]


def test_the_example_of_the_pages_is_read() -> None:
    example = Path(__file__).parents[3] / "examples" / "policy.yaml"

    assert set(read_policies([example]).members) == set(KINDS)


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main.run([str(each) for each in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_lock_file_holds_what_was_reviewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "limits").mkdir()
    (one := tmp_path / "limits" / "one.yaml").write_text(HEAD)
    (two := tmp_path / "two.yaml").write_text(HEAD)
    lock = tmp_path / "policy.lock"
    at = ("--lock", lock)

    assert run("verify", *at) == 1
    assert f"headgate: {lock}: No such file" in capsys.readouterr().err
    assert run("verify", tmp_path, *at, "--write") == 0
    assert run("verify", *at) == 0
    one.write_text(HEAD + "# changed\n")
    capsys.readouterr()
    assert run("verify", *at) == 1
    assert capsys.readouterr().err == (
        f"headgate: {one}: is not what {lock} says: it was changed since\n"
    )
    two.unlink()
    (three := tmp_path / "three.yaml").write_text(HEAD)
    assert run("verify", tmp_path, *at) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"{three}: is not in {lock}",
        f"{two}: is in {lock} and not there",
    ]
    lock.write_text("nonsense\n")
    assert run("verify", *at) == 1
    assert f"{lock}:1: is no checksum" in capsys.readouterr().err


def test_a_url_comes_from_where_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secret := tmp_path / "url").write_text("https://host:8443/hook\n")
    complete = channels.CHANNELS.complete
    wanted = channel_pb2.Channel(kind=channel_pb2.CHANNEL_KIND_WEBHOOK, url=f"file:{secret}")
    known = channel_pb2.Channel(url="https://host:8443/***")

    assert complete(wanted, None).url == "https://host:8443/hook"
    # What is hidden is no drift; nothing is sent in its place.
    assert complete(wanted, known).url == "https://host:8443/***"
    assert channels.CHANNELS.send is not None
    assert channels.CHANNELS.send(complete(wanted, known)).url == ""
    monkeypatch.setenv("ELSEWHERE", "https://other/hook")
    wanted.url = "env:ELSEWHERE"
    assert channels.CHANNELS.send(complete(wanted, known)).url == "https://other/hook"
    wanted.url = "env:NOWHERE"
    assert complete(wanted, known).url == known.url
    with pytest.raises(ValueError, match="set NOWHERE"):
        complete(wanted, None)
