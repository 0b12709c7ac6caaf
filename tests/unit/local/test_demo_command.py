"""The demo's command line: wrong use is one line, and nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.demo import __main__ as command
from local.demo.books import Check
from local.demo.endpoints import read_endpoints
from local.demo.outcome import Outcome
from local.demo.reconciliation import reconcile
from local.demo.tally import Tally
from local.errors import LocalError


def test_without_a_running_system_it_names_the_command_that_starts_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--state", str(tmp_path)]) == command.EXIT_WRONG_USE
    assert capsys.readouterr().err == (
        "demo: nothing runs here; start it with `make up` in another terminal\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "0"],
        ["--seconds", "many"],
        ["--rate", "0"],
        ["--rate", "1000000"],
        ["--rate", "nan"],
        ["--seed", "x"],
        ["--unheard-of"],
    ],
)
def test_a_wrong_option_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)

    assert stopped.value.code == command.EXIT_WRONG_USE
    assert arguments[0] in capsys.readouterr().err


def test_all_gateways_are_one_target(tmp_path: Path) -> None:
    content = {
        "gateways": ["127.0.0.1:1", "127.0.0.1:2"],
        "api_keys": {"demo-acme": "hg_a_b"},
        "admin_key": "hg_c_d",
    }
    (tmp_path / "endpoints.json").write_text(json.dumps(content))
    endpoints = read_endpoints(tmp_path)

    assert endpoints.target == "ipv4:127.0.0.1:1,127.0.0.1:2"
    assert "hg_" not in repr(endpoints)


def test_only_the_latest_runs_are_kept(tmp_path: Path) -> None:
    parent = tmp_path / "demo"
    made = [command.make_folder(parent) for _ in range(command.KEPT_RUN_COUNT + 2)]

    assert sorted(parent.iterdir()) == made[-command.KEPT_RUN_COUNT :]


@pytest.mark.parametrize(("nanos", "code"), [(5, 0), (6, command.EXIT_DIFFERENT)])
def test_the_exit_code_tells_whether_everything_holds(
    nanos: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(*_: object) -> Outcome:
        return Outcome(
            acts=[],
            statement=reconcile([], []),
            checks=[Check(name="usage log", expected_nanos=5, found_nanos=nanos)],
            violations=[],
            tally=Tally(),
            seconds=1.0,
        )

    monkeypatch.setattr(command, "_run", play)

    assert command.main(["--json"]) == code
    assert json.loads(capsys.readouterr().out)["reconciled"] is (code == 0)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (LocalError("the disk is full"), command.EXIT_WRONG_USE, "demo: the disk is full\n"),
        (
            ExceptionGroup("several", [ExceptionGroup("inner", [LocalError("no")])]),
            command.EXIT_WRONG_USE,
            "demo: no\n",
        ),
        (
            KeyboardInterrupt(),
            command.EXIT_INTERRUPTED,
            "demo: interrupted; its books were not compared\n",
        ),
    ],
)
def test_what_is_in_the_way_is_one_line(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def play(*_: object) -> Outcome:
        raise error

    monkeypatch.setattr(command, "_run", play)

    assert command.main([]) == code
    assert capsys.readouterr().err == message
