"""Which credentials are in use with which provider, as one gateway sees its calls."""

from __future__ import annotations

from typing import Final

# A credential that no call has asked for so long is not in use.
IN_USE_SECONDS: Final = 600.0
COUNT_MAX: Final = 10_000


class CredentialsInUse:
    """Remembers when each credential was last asked for: admitted or not."""

    def __init__(self) -> None:
        # By provider and credential.
        self._times: dict[tuple[str, str], float] = {}

    def note(self, provider: str, credential: str, now: float) -> None:
        """Takes a call's way. When it is full it forgets what is old, else learns nothing new."""
        way = (provider, credential)
        if way not in self._times and len(self._times) >= COUNT_MAX:
            self._times = {each: at for each, at in self._times.items() if _is_recent(at, now)}
            if len(self._times) >= COUNT_MAX:
                return
        self._times[way] = now

    def of(self, provider: str, now: float, *, org: str = "") -> list[str]:
        """Returns a provider's credentials in use, of one org or of all."""
        return [
            credential
            for (name, credential), at in self._times.items()
            if name == provider
            and _is_recent(at, now)
            and org in ("", credential.partition("/")[0])
        ]


def _is_recent(at: float, now: float) -> bool:
    return now - at < IN_USE_SECONDS
