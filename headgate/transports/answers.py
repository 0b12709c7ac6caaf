"""Answers that no provider gave."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from headgate.attempt import Attempt
from headgate.dialects.shape import Spoken, render
from headgate.errors import HeadgateError
from headgate.transports.stream import GovernedStream

# No SDK repeats it: neither for its number nor, told by the header, for anything else.
REFUSED_STATUS: Final = 403
_TRANSFER_HEADERS: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})
_EXTENSIONS: Final = frozenset({"http_version", "reason_phrase"})


class HttpFailureError(Exception):
    """The provider answered with an error; `classify` reads the status."""

    def __init__(self, response: Any) -> None:
        super().__init__(f"the provider answered {response.status_code}")
        self.response = response
        self.status_code = int(response.status_code)


class Refusal:
    """Makes a response raise what refused it, whoever looks at it.

    An exception that is raised in the transport would be taken for a broken connection by some
    SDKs: repeated three times, then wrapped. So the transport answers, once, and the error is
    raised where the SDK makes sense of the answer.
    """

    refused: HeadgateError

    def raise_for_status(self) -> Any:
        """Raises what refused the call."""
        raise self.refused

    def json(self, **_: Any) -> Any:
        """Raises what refused the call."""
        raise self.refused

    @property
    def text(self) -> str:
        """Raises what refused the call."""
        raise self.refused

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """Raises what refused the call."""
        raise self.refused

    def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """Raises what refused the call."""
        raise self.refused


def refuse(http: Any, error: HeadgateError) -> Any:
    """Returns a response of the HTTP library that raises the error when it is looked at."""
    body = {"error": {"message": str(error), "type": "headgate_" + type(error).__name__.lower()}}
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    response = _refused_type(http)(REFUSED_STATUS, headers=headers, content=render(body))
    response.refused = error
    return response


def say(http: Any, spoken: Spoken) -> Any:
    """Returns a response that carries the fallback text."""
    headers = {"content-type": spoken.content_type, "x-headgate-fallback": "true"}
    return http.Response(200, headers=headers, content=spoken.content)


def copy(http: Any, response: Any, call: Attempt) -> Any:
    """Returns a response that has been read, with what Headgate adds."""
    return http.Response(
        response.status_code,
        headers=_headers(response, call),
        content=response.content,
        extensions=_extensions(response),
    )


def stream(http: Any, response: Any, watched: GovernedStream, call: Attempt) -> Any:
    """Returns the response with its governed content."""
    return http.Response(
        response.status_code,
        headers=_headers(response, call),
        stream=_stream_type(http)(watched),
        extensions=_extensions(response),
    )


class _Stream:
    """Is a stream in the eyes of the HTTP library."""

    def __init__(self, watched: GovernedStream) -> None:
        self.watched = watched

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.watched.__aiter__()

    async def aclose(self) -> None:
        await self.watched.aclose()


@functools.cache
def _stream_type(http: Any) -> Any:
    return type("GovernedByteStream", (_Stream, http.AsyncByteStream), {})


@functools.cache
def _refused_type(http: Any) -> Any:
    return type("RefusedResponse", (Refusal, http.Response), {})


def _headers(response: Any, call: Attempt) -> list[tuple[str, str]]:
    """Without what described the content as it was transferred: it has been decoded."""
    items = response.headers.multi_items()
    headers = [(name, value) for name, value in items if name.lower() not in _TRANSFER_HEADERS]
    return [
        *headers,
        ("x-headgate-call-id", call.call_id),
        ("x-headgate-provider", call.provider),
        ("x-headgate-model", call.model),
    ]


def _extensions(response: Any) -> dict[str, Any]:
    return {name: value for name, value in response.extensions.items() if name in _EXTENSIONS}
