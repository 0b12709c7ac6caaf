"""Where each provider is reached, and how its requests are signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

# Headers that hold one provider's credentials: no other one may see them.
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
    | {"openai-organization", "openai-project", "x-goog-user-project"}
)
# How each dialect carries a key.
_KEY_HEADERS: Final = {"anthropic": ("x-api-key", ""), "google": ("x-goog-api-key", "")}
# What is known without being told.
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
    # The protocol that it speaks there. Empty: the one of the request.
    dialect: str = ""
    # Sent to this provider besides.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which provider a request was made for, and what of its URL is the endpoint's."""

    # Empty: nobody knows.
    name: str
    # The URL without the endpoint's path.
    base_url: str
    # The endpoint's path, query included.
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an attempt goes."""

    base_url: str
    headers: Mapping[str, str]
    # Names of the request's headers that stay behind.
    withheld: frozenset[str]


class Directory:
    """Finds providers. Raises ValueError for a URL that is none."""

    def __init__(self, providers: Mapping[str, Provider | str]) -> None:
        self._providers = {
            name: Provider(base_url=each) if isinstance(each, str) else each
            for name, each in providers.items()
        }
        for name, each in self._providers.items():
            parts = urlsplit(each.base_url)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
                raise ValueError(f"the base URL of {name} is none: {each.base_url!r}")

    def find_origin(self, url: str, *, endpoint: str) -> Origin:
        """Returns which provider a URL belongs to: the longest base URL that it starts with.

        `endpoint` is the part of the path that every provider of the dialect has.
        """
        matches = [
            (len(base), name, base)
            for name, each in self._providers.items()
            if url.startswith((base := each.base_url.rstrip("/")) + "/")
        ]
        if matches:
            _, name, base = max(matches)
            return Origin(name=name, base_url=base, path=url[len(base) :])
        host = urlsplit(url).hostname or ""
        cut = url.index(endpoint)
        name = _PROVIDERS_BY_HOST.get(host, "")
        return Origin(name=name, base_url=url[:cut], path=url[cut:])

    def find_target(self, name: str, *, origin: Origin, dialect: str) -> Target | None:
        """Returns where a candidate of that provider is asked. None: it can't be."""
        if name == origin.name or (not origin.name and not self._providers):
            known = self._providers.get(name)
            return Target(
                base_url=origin.base_url,
                headers=known.headers if known else {},
                withheld=frozenset(),
            )
        known = self._providers.get(name)
        if known is None or known.dialect not in ("", dialect):
            return None
        return Target(
            base_url=known.base_url.rstrip("/"),
            headers={**_sign(dialect, known.api_key), **known.headers},
            withheld=_SECRET_HEADERS,
        )


def _sign(dialect: str, api_key: str) -> dict[str, str]:
    if not api_key:
        return {}
    header, prefix = _KEY_HEADERS.get(dialect, ("authorization", "Bearer "))
    return {header: prefix + api_key}
