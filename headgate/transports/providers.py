"""Where each provider is reached, and how its requests are signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from headgate.dialects import DIALECTS

# Headers that hold one provider's credentials: no other one may see them.
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
    | {"openai-organization", "openai-project", "x-goog-user-project"}
)
# How a family carries a key, if not as a bearer's.
_KEY_HEADERS: Final = {"anthropic": ("x-api-key", ""), "google": ("x-goog-api-key", "")}
# What is known without being told: a host's provider, which names its dialect.
_PROVIDERS_BY_HOST: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.cohere.com": "cohere",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, as its own SDK would be told to reach it."""

    # What its SDK takes as base URL, such as "https://api.openai.com/v1".
    base_url: str
    # Its API key. Empty: only requests that were made for this provider carry one.
    api_key: str = field(default="", repr=False)
    # The protocol that it speaks there: "openai", "mistral", "deepseek", "compatible" (as OpenAI
    # did at first), "anthropic", "google" or "cohere". Empty: that of the request's SDK.
    dialect: str = ""
    # Sent to this provider besides.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which provider a request was made for, and what of its URL belongs to the endpoint."""

    # Empty: nobody knows.
    name: str
    base_url: str
    # The rest of the URL, query included.
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an attempt goes."""

    base_url: str
    dialect: str
    headers: Mapping[str, str]
    # Names of the request's headers that stay behind.
    withheld: frozenset[str]


class Directory:
    """Finds providers. Raises ValueError for what is no URL or no dialect."""

    def __init__(self, providers: Mapping[str, Provider | str]) -> None:
        self._providers = {
            name: Provider(base_url=each) if isinstance(each, str) else each
            for name, each in providers.items()
        }
        for name, each in self._providers.items():
            _check(name, each)

    def find_origin(self, url: str, *, start: str) -> Origin:
        """Returns which provider a URL belongs to: the one of the longest base URL that fits.

        `start` is how the path goes on after a base URL that nobody has told.
        """
        matches = [
            (len(base), name, base)
            for name, each in self._providers.items()
            if url.startswith((base := each.base_url.rstrip("/")) + "/")
        ]
        if matches:
            _, name, base = max(matches)
            return Origin(name=name, base_url=base, path=url[len(base) :])
        cut = url.index(start)
        name = _PROVIDERS_BY_HOST.get(urlsplit(url).hostname or "", "")
        return Origin(name=name, base_url=url[:cut], path=url[cut:])

    def find_target(self, name: str, *, origin: Origin, family: str) -> Target | None:
        """Returns where a candidate of that provider is asked. None: it can't be."""
        known = self._providers.get(name)
        # Behind an address that nobody knows may stand a proxy for all of them.
        if name == origin.name or (not origin.name and not self._providers):
            return Target(
                base_url=origin.base_url,
                dialect=known.dialect if known else origin.name,
                headers=known.headers if known else {},
                withheld=frozenset(),
            )
        if known is None or known.dialect not in ("", *DIALECTS[family]):
            return None
        return Target(
            base_url=known.base_url.rstrip("/"),
            dialect=known.dialect or name,
            headers={**_sign(family, known.api_key), **known.headers},
            withheld=_SECRET_HEADERS,
        )


def _check(name: str, provider: Provider) -> None:
    parts = urlsplit(provider.base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise ValueError(f"{name} has no base URL: {provider.base_url!r}")
    if provider.dialect not in ("", *frozenset().union(*DIALECTS.values())):
        raise ValueError(f"{name} speaks no known dialect: {provider.dialect!r}")


def _sign(family: str, api_key: str) -> dict[str, str]:
    if not api_key:
        return {}
    header, prefix = _KEY_HEADERS.get(family, ("authorization", "Bearer "))
    return {header: prefix + api_key}
