from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from local import endpoints
from local.endpoints import Identity, own_identity
from tests.unit.local.test_layout import ADMIN_URL, CREDENTIALS, layout


def test_the_file_says_where_everything_answers_and_only_its_owner_reads_it(
    tmp_path: Path,
) -> None:
    endpoints.write(tmp_path, layout(), {"gateway-0": Identity(123, 4.5)})

    file = tmp_path / "endpoints.json"
    content = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert content["gateways"] == ["127.0.0.1:7400", "127.0.0.1:7411"]
    assert content["admissions"] == ["127.0.0.1:7401", "127.0.0.1:7421"]
    assert (content["accounting"], content["health"]) == ("127.0.0.1:7402", "127.0.0.1:7403")
    assert content["metrics"]["gateway-0"] == "http://127.0.0.1:9464"
    assert content["database_url"] == ADMIN_URL
    assert content["api_keys"] == CREDENTIALS.api_keys
    assert content["admin_key"] == CREDENTIALS.admin_key
    assert content["pids"] == {"gateway-0": 123}
    assert endpoints.read_identities(tmp_path) == {"gateway-0": Identity(123, 4.5)}


def test_a_missing_or_torn_file_says_nothing(tmp_path: Path) -> None:
    before = endpoints.read(tmp_path), endpoints.read_identities(tmp_path)
    (tmp_path / "endpoints.json").write_text('{"pids": {')
    torn = endpoints.read(tmp_path), endpoints.read_identities(tmp_path)

    assert before == torn == (None, {})


def test_a_later_process_with_the_same_id_is_another_one() -> None:
    own = own_identity()

    assert own.process() is not None
    assert Identity(own.pid, own.start_time - 60).process() is None


def test_a_process_that_ended_is_gone_even_before_anybody_waited_for_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    identity = Identity.of(child.pid)
    assert identity is not None
    assert child.stdout is not None
    child.stdout.read()
    zombie_seen = False
    while not zombie_seen:
        zombie_seen = identity.process() is None
    child.wait()
    child.stdout.close()

    assert identity.process() is None
    assert Identity.of(child.pid) is None
