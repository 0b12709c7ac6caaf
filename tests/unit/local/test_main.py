from __future__ import annotations

from pathlib import Path

import pytest

from local.__main__ import main


@pytest.mark.parametrize("count", ["0", "11", "-1", "many"])
def test_a_number_of_replicas_out_of_range_is_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["up", "--gateways", count])

    assert exit_info.value.code == 2
    assert "a number from 1 to 10" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "down", "keys"])
def test_where_nothing_was_started_each_command_says_so(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([command, "--state", str(tmp_path)])

    said = capsys.readouterr()
    shown = {
        "status": (1, "Nothing runs here: `make up` starts it."),
        "down": (0, "nothing runs"),
        "keys": (1, "there are no keys yet: `make up` makes them"),
    }
    assert code == shown[command][0]
    assert (said.out + said.err).strip().endswith(shown[command][1])


def test_a_state_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code = main(["up", "--state", str(tmp_path / "file" / "state")])

    assert code == 1
    assert capsys.readouterr().err == (
        f"cannot make the folder {tmp_path}/file/state (Not a directory): set HEADGATE_STATE_DIR\n"
    )
