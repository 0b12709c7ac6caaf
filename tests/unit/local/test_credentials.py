from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.keys import parse_key_id
from local.credentials import ORGS, load_or_make
from local.errors import LocalError

DEPLOYABLES = ("admission", "gateway")


def test_secrets_are_made_once_and_then_read(tmp_path: Path) -> None:
    first = load_or_make(tmp_path / "secrets", deployables=DEPLOYABLES)
    second = load_or_make(tmp_path / "secrets", deployables=DEPLOYABLES)

    assert (first.fresh, second.fresh) == (True, False)
    assert first.api_keys == second.api_keys
    assert first.passwords == second.passwords
    assert (first.service_token, first.permit_key, first.channel_key) == (
        second.service_token,
        second.permit_key,
        second.channel_key,
    )


def test_only_their_owner_can_read_the_files(tmp_path: Path) -> None:
    load_or_make(tmp_path / "secrets", deployables=DEPLOYABLES)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_keys_have_the_gateways_form_and_no_two_share_a_secret(tmp_path: Path) -> None:
    made = load_or_make(tmp_path, deployables=DEPLOYABLES)

    keys = [*made.api_keys.values(), made.admin_key]
    assert tuple(made.api_keys) == ORGS
    assert None not in {parse_key_id(key) for key in keys}
    assert len({key.rpartition("_")[2] for key in keys}) == len(keys)


def test_a_new_deployable_gets_its_passwords_beside_the_old_ones(tmp_path: Path) -> None:
    old = load_or_make(tmp_path, deployables=("admission",))
    new = load_or_make(tmp_path, deployables=DEPLOYABLES)

    assert new.owner("admission") == old.owner("admission")
    assert new.runtime("gateway")[0] == "headgate_gateway"
    assert new.runtime("gateway")[1] != new.owner("gateway")[1]


def test_a_secret_that_cannot_be_read_is_one_line_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "key-admin").mkdir()

    with pytest.raises(LocalError, match=r"key-admin.*HEADGATE_STATE_DIR"):
        load_or_make(tmp_path, deployables=DEPLOYABLES)
