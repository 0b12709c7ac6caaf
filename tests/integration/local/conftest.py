from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import config, postmaster
from local.accounts import make_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A server's folder that the unprivileged user can reach; whatever runs there is ended."""
    scratch = config.places().scratch
    make_folder(scratch, mode=0o755)
    made = Path(tempfile.mkdtemp(prefix="headgate-test-", dir=scratch))
    made.chmod(0o755)
    yield made / "postgres"
    while (found := postmaster.find_postmaster(made / "postgres" / "data")) is not None:
        postmaster.end(found.process, immediately=True)
    shutil.rmtree(made)
