"""The command `doctor`: what it finds in an installation that is sound, and in one that is not."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

import asyncpg
import trustme

from chassis import doctor
from tests.integration.chassis.commands import NOWHERE, Command


def test_a_sound_installation_has_nothing_wrong(command: Command, url: str) -> None:
    ended = command(url, "doctor")

    assert ended.code == 0, ended.out
    checks = [line.split()[:2] for line in ended.out.splitlines()]
    assert checks == [
        ["ok", name]
        for name in (
            "configuration", "database", "clock", "connections", "durability", "role", "schema",
        )
    ]  # fmt: skip


def test_a_database_that_is_away_is_the_finding(command: Command) -> None:
    ended = command(NOWHERE, "doctor", "--json")

    assert ended.code == 1
    wrong = [each for each in json.loads(ended.out)["findings"] if each["wrong"]]
    assert [each["check"] for each in wrong] == ["database"]
    assert "start the database" in wrong[0]["remedy"]


def test_a_mighty_role_and_a_missing_migration_are_found(command: Command, url: str) -> None:
    async def spoil() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("DELETE FROM toy.schema_migration")
        await connection.close()

    asyncio.run(spoil())
    # The superuser instead of the runtime role.
    ended = command(url, "doctor", "--json", database_url=url)

    found = {each["check"]: each for each in json.loads(ended.out)["findings"] if each["wrong"]}
    assert ended.code == 1
    assert found.keys() == {"role", "schema"}
    assert "to administrate the server" in found["role"]["found"]
    assert "run migrate first" in found["schema"]["found"]
    assert "run migrate first" in command(url, "doctor").out


def test_a_clock_that_is_off_and_a_certificate_that_ends_are_found(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    second = dt.timedelta(seconds=1)

    assert not doctor._check_clock(now, now - 9 * second, now + 9 * second).is_wrong
    assert doctor._check_clock(now - 3 * second, now, now + second).is_wrong
    assert doctor._check_clock(now + 3 * second, now - second, now).is_wrong

    file = tmp_path / "certificate.pem"
    assert doctor._check_certificate(file, now).is_wrong
    issued = trustme.CA().issue_cert("admission.example", not_after=now + dt.timedelta(days=20))
    issued.cert_chain_pems[0].write_to_path(file)
    found = doctor._check_certificate(file, now)
    assert (found.found, found.is_wrong) == ("for admission.example, ends in 19 days", False)
    assert doctor._check_certificate(file, now + dt.timedelta(days=7)).is_wrong
