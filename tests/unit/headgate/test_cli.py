"""The command line without a gateway: what it reads, refuses and prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from headgate.api.common.v1 import health_pb2, limit_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import main, output, prices, wording
from headgate.cli.config import Options, WrongUse, find_access
from headgate.cli.switch import CONFIRMATION

KEY = "hg_admin_0123456789abcdef"
# Nobody listens there.
NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HEADGATE_"):
            monkeypatch.delenv(name)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.run(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def options(**said: object) -> Options:
    known: dict[str, object] = {
        "target": "",
        "key_file": None,
        "state_dir": None,
        "ca_file": None,
        "insecure": False,
        "timeout_seconds": 1.0,
    }
    return Options(**known | said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frob"], "No such command 'frob'"),
        (["limits", "set", "x"], "Missing option '--cap'"),
        (["status", "--nope"], "No such option: --nope"),
        (["--timeout", "soon", "status"], "'--timeout'"),
        (["status"], "no admin key: set HEADGATE_ADMIN_KEY"),
        (["--key-file", "nowhere", "status"], "can't read nowhere"),
        (["keys", "create", "x"], "either --org"),
        (["keys", "create", "x", "--org", "acme", "--role", "king"], "'--role'"),
        (["counters", "--org", "acme", "--platform"], "exclude each other"),
        (["usage", "--from", "yesterday"], "--from: 'yesterday' is not a day"),
        (["usage", "--by", "colour"], "'--by'"),
        (["usage", "--where", "colour=red"], "--where: 'colour=red' is not NAME=VALUE"),
        (["routes", "set", "x", "--candidate", "openai"], "not PROVIDER/MODEL"),
        (["routes", "set", "x", "--candidate", "a/b=x"], "is no weight"),
        (["routes", "set"], "either an operation, or a --file"),
        (["routes", "set", "--file", "nowhere"], "nowhere: No such file"),
        (["prices", "set", "a/b", "--meter", "input"], "not METER=USD"),
        (["prices", "set", "a/b", "--meter", "colour=1"], "not METER=USD"),
        (["prices", "set", "a/b", "--meter", "input=1e9"], "not an amount"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str
) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("headgate: ")
    assert err.count("\n") == 1


SET = ("limits", "set", "x", "--per", "day")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "cost", "--cap", "-1"], "--cap: '-1' is not an amount"),
        (["--metric", "cost", "--cap", "1.0000000001"], "more than 9 decimals"),
        (["--metric", "calls", "--cap", "1.5"], "'1.5' is not a number of calls"),
        (["--metric", "calls", "--cap", "\u0663"], "is not a number of calls"),
        (["--metric", "calls", "--cap", "1", "--org", "a", "--each-org"], "exclude each other"),
    ],
)
def test_a_cap_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str
) -> None:
    assert run(*SET, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["limits"], ["keys"], ["routes"], ["prices"]])
def test_a_group_alone_tells_its_commands(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage: headgate" in out
    assert err == ""


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("limits", "set", "--help") == 0
    assert "--each-org" in capsys.readouterr().out


def test_nobody_at_the_other_end_is_one_line_and_code_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", KEY)
    monkeypatch.setenv("HEADGATE_TARGET", NOWHERE)

    assert run("--timeout", "0.1", "status") == 3
    err = capsys.readouterr().err
    assert err.startswith("headgate: no answer: UNAVAILABLE")
    assert err.count("\n") == 1


def test_a_kill_that_nobody_can_confirm_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", KEY)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run("--target", NOWHERE, "kill", "--reason", "x") == 2
    assert "confirm it with --yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ("yes", 2, "not confirmed; nothing is stopped"),
        ("", 2, "not confirmed; nothing is stopped"),
        (CONFIRMATION, 3, "no answer"),
    ],
)
def test_a_kill_at_a_terminal_is_confirmed_in_full(typed: str, code: int, words: str) -> None:
    controller, terminal = pty.openpty()
    command = (sys.executable, "-m", "headgate", "--target", NOWHERE, "--timeout", "0.1")
    process = subprocess.Popen(
        (*command, "kill", "--reason", "x"),
        env={**os.environ, "HEADGATE_ADMIN_KEY": KEY},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(controller, f"{typed}\n".encode())
    out, err = process.communicate(timeout=30)
    os.close(controller)
    os.close(terminal)

    assert (process.returncode, out) == (code, "")
    assert "This stops every call of every org" in err
    assert words in err


def test_options_come_before_variables_and_both_before_a_local_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("hg_from_file\n")
    (tmp_path / "endpoints.json").write_text(
        json.dumps({"gateways": ["127.0.0.1:7400", "127.0.0.1:7410"], "admin_key": "hg_local"})
    )
    local = find_access(options(state_dir=tmp_path))
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", "hg_from_environment")
    environment = find_access(options(state_dir=tmp_path))
    said = find_access(options(target="127.0.0.1:9", key_file=tmp_path / "key"))

    assert (local.target, local.key) == ("ipv4:127.0.0.1:7400,127.0.0.1:7410", "hg_local")
    assert (environment.target, environment.key) == (local.target, "hg_from_environment")
    assert (said.target, said.key) == ("127.0.0.1:9", "hg_from_file")
    assert find_access(options()).target == "127.0.0.1:7400"
    assert "hg_" not in repr(said)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"gateways": 7}', '{"gateways": ["a"]}'])
def test_a_state_folder_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "endpoints.json").write_text(content)

    with pytest.raises(WrongUse, match="not written by a local system"):
        find_access(options(state_dir=tmp_path))


def test_an_authority_makes_the_connection_a_secure_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", KEY)
    (tmp_path / "ca.pem").write_bytes(b"PEM")
    access = find_access(options(ca_file=tmp_path / "ca.pem"))

    assert access.tls is not None
    assert access.tls.root_certificates == b"PEM"


@pytest.mark.parametrize(
    ("said", "key", "words"),
    [
        ({"target": "http://gateway"}, KEY, "no gateway's address"),
        ({}, "hg with spaces", "characters that no key has"),
    ],
)
def test_what_can_be_no_access_is_refused(
    said: dict[str, object], key: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", key)

    with pytest.raises(WrongUse, match=words):
        find_access(options(**said))


def test_text_from_anybody_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(["NAME"], [["a\x1b[2Jb\n[red]c"]], empty="")

    out = capsys.readouterr().out
    assert r"a\x1b[2Jb\n[red]c" in out
    assert "\x1b" not in out


def test_a_line_of_a_table_in_a_pipe_is_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(["A", ">B"], [["x" * 500, "1"], ["y", "22"]], empty="", footer=True)

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("x" * 500) and line.endswith("  1") for line in lines)
    assert any(line.startswith("y") and line.endswith(" 22") for line in lines)


def test_an_empty_table_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(["A"], [], empty="There is none.")

    assert capsys.readouterr().out == "There is none.\n"


def test_json_has_all_fields_and_exact_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json(limit_pb2.Limit(limit_id="x", cap=2**60, owner="\u00e9"))

    printed = json.loads(capsys.readouterr().out)
    assert (printed["cap"], printed["owner"]) == (str(2**60), "\u00e9")
    assert printed["scope"] == {}
    assert printed["metric"] == "METRIC_UNSPECIFIED"


def test_values_in_words() -> None:
    monthly = limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_MONTH)

    assert wording.scope({}) == "platform"
    assert wording.scope({"org": "*"}) == "every org"
    assert wording.scope({"org": "acme", "model": "m"}) == "model m, org acme"
    assert wording.amount(limit_pb2.METRIC_COST, 1_500_000_000) == "$1.50"
    assert wording.amount(limit_pb2.METRIC_CALLS, 1_500) == "1,500"
    assert wording.window(limit_pb2.Limit(calendar=monthly)) == "month UTC"
    assert wording.word(health_pb2.BreakerState.DESCRIPTOR, 3) == "half open"
    assert wording.word(health_pb2.BreakerState.DESCRIPTOR, 99) == "99"
    assert wording.instant(admin_pb2.ApiKey(), "create_time") == "-"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "0 %"), (999, 1_000, "100 %"), (3, 2, "150 %"), (1, 0, "-")],
)
def test_a_share_never_looks_smaller_than_it_is(part: int, whole: int, text: str) -> None:
    assert wording.share(part, whole) == text


def test_a_price_tells_its_tiers() -> None:
    price = price_pb2.MeterPrice(
        meter=price_pb2.METER_CACHE_WRITE_5M,
        nanos_per_million=10**9,
        tiers=[price_pb2.PriceTier(input_token_threshold=200_000, nanos_per_million=2 * 10**9)],
    )

    assert prices.word_meter(price) == "cache write 5m $1.00 (above 200,000 $2.00)"


def test_a_client_without_its_extra_says_what_the_command_line_needs() -> None:
    program = "import sys; sys.modules['typer'] = None; import headgate.__main__"
    process = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, check=False
    )

    assert process.returncode == 1
    assert process.stderr == (
        "headgate: the command line needs more than the client: pip install 'headgate[cli]'\n"
    )
