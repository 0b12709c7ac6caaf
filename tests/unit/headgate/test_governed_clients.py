"""What a governed HTTP client is made of, and what it can't be made of."""

from __future__ import annotations

from typing import Any

import pytest

import headgate
from headgate.testing import API_KEY


@pytest.mark.parametrize(
    "provider",
    [
        headgate.Provider(base_url="one.test"),
        headgate.Provider(base_url="ftp://one.test"),
        headgate.Provider(base_url="https://one.test/v1?key=1"),
        headgate.Provider(base_url="https://one.test", dialect="latin"),
    ],
)
def test_a_provider_that_is_none_is_refused(provider: headgate.Provider) -> None:
    client = headgate.Client("127.0.0.1:1", api_key=API_KEY)

    with pytest.raises(ValueError, match="one"):
        headgate.governed_async_client("chat", client=client, providers={"one": provider})


def test_each_face_wants_its_own_kind_of_client() -> None:
    blocking: Any = headgate.SyncClient("127.0.0.1:1", api_key=API_KEY)
    awaiting: Any = headgate.Client("127.0.0.1:1", api_key=API_KEY)

    with pytest.raises(TypeError, match=r"headgate\.Client"):
        headgate.governed_async_client("chat", client=blocking)
    with pytest.raises(TypeError, match=r"headgate\.SyncClient"):
        headgate.governed_client("chat", client=awaiting)
