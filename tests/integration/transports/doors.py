"""Every way a backend may ask: each provider's own package, awaiting or blocking."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import httpx2
import openai
from google import genai
from google.genai import types as genai_types
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, ResponseValidationError
from pydantic import ValidationError

import headgate
from headgate.testing import API_KEY
from local.demo.stand_in import StandInProcess

PROMPT = "word " * 40
# The one that is asked for; the route decides which one answers.
MODEL = "the-callers-own"
MAX_TOKENS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller got."""

    text: str
    model: str = ""


class Door(ABC):
    """One package in one manner."""

    # What follows a provider's name in its base URL.
    suffix = "/v1"
    dialect = ""
    # The two candidates of the route.
    candidates = (("demo-openai", "gpt-4o-mini"), ("demo-anthropic", "claude-haiku"))
    error: type[Exception]
    library: Any = None
    # How the package refuses an answer whose usage is nonsense. None: it does not look.
    invalid: type[Exception] | None = None

    def __init__(self, *, blocks: bool) -> None:
        self.blocks = blocks

    def __repr__(self) -> str:
        library = self.library.__name__ + "-" if self.library else ""
        return f"{library}{type(self).__name__}-{'blocking' if self.blocks else 'awaiting'}"

    def urls(self, providers: StandInProcess) -> dict[str, headgate.Provider]:
        return {
            name: headgate.Provider(
                base_url=f"{providers.url}/{name}{self.suffix}", dialect=self.dialect
            )
            for name, _ in self.candidates
        }

    @abstractmethod
    def make(self, http: Any, url: str, *, retries: int) -> Any:
        """Returns the package's client."""

    @abstractmethod
    def ask(self, sdk: Any, headers: dict[str, str]) -> Any:
        """Returns the answer, or what has to be awaited for it."""

    @abstractmethod
    def stream(self, sdk: Any, headers: dict[str, str]) -> Any:
        """Returns a stream, or what has to be awaited for it."""

    @abstractmethod
    def read(self, answer: Any) -> Answer:
        """Returns what an answer says."""

    @abstractmethod
    def read_event(self, event: Any) -> str:
        """Returns the text of a stream's event."""


class OpenAIChat(Door):
    error = openai.InternalServerError

    def make(self, http: Any, url: str, *, retries: int) -> Any:
        kind = openai.OpenAI if self.blocks else openai.AsyncOpenAI
        return kind(base_url=url, api_key="sk-test", http_client=http, max_retries=retries)

    def ask(self, sdk: Any, headers: dict[str, str], **more: Any) -> Any:
        return sdk.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": PROMPT}],
            max_completion_tokens=MAX_TOKENS,
            extra_headers=headers,
            **more,
        )

    def stream(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self.ask(sdk, headers, stream=True)

    def read(self, answer: Any) -> Answer:
        return Answer(text=answer.choices[0].message.content, model=answer.model)

    def read_event(self, event: Any) -> str:
        assert event.usage is None
        return event.choices[0].delta.content or ""


class LegacyOpenAIChat(OpenAIChat):
    """With a client of the older HTTP library."""

    library = httpx


class OpenAIResponses(OpenAIChat):
    def ask(self, sdk: Any, headers: dict[str, str], **more: Any) -> Any:
        return sdk.responses.create(
            model=MODEL,
            input=PROMPT,
            max_output_tokens=MAX_TOKENS,
            extra_headers=headers,
            **more,
        )

    def read(self, answer: Any) -> Answer:
        return Answer(text=answer.output_text, model=answer.model)

    def read_event(self, event: Any) -> str:
        return event.delta if event.type == "response.output_text.delta" else ""


class AnthropicMessages(Door):
    suffix = ""
    candidates = (("demo-anthropic", "claude-haiku"), ("demo-openai", "gpt-4o-mini"))
    error = anthropic.InternalServerError

    def make(self, http: Any, url: str, *, retries: int) -> Any:
        kind = anthropic.Anthropic if self.blocks else anthropic.AsyncAnthropic
        return kind(base_url=url, api_key="sk-test", http_client=http, max_retries=retries)

    def ask(self, sdk: Any, headers: dict[str, str], **more: Any) -> Any:
        return sdk.messages.create(
            model=MODEL,
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=MAX_TOKENS,
            extra_headers=headers,
            **more,
        )

    def stream(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self.ask(sdk, headers, stream=True)

    def read(self, answer: Any) -> Answer:
        return Answer(text=answer.content[0].text, model=answer.model)

    def read_event(self, event: Any) -> str:
        return event.delta.text if event.type == "content_block_delta" else ""


class MistralChat(Door):
    suffix = "/mistral"
    dialect = "mistral"
    candidates = (("demo-mistral", "mistral-small"), ("demo-openai", "gpt-4o-mini"))
    error = MistralError
    invalid = ResponseValidationError

    def make(self, http: Any, url: str, *, retries: int) -> Any:
        client = {"client": http} if self.blocks else {"async_client": http}
        return Mistral(api_key="sk-test", server_url=url, **client)

    def ask(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self._call(sdk, "complete", headers)

    def stream(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self._call(sdk, "stream", headers)

    def _call(self, sdk: Any, method: str, headers: dict[str, str]) -> Any:
        call = getattr(sdk.chat, method if self.blocks else f"{method}_async")
        return call(
            model=MODEL,
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=MAX_TOKENS,
            http_headers=headers,
        )

    def read(self, answer: Any) -> Answer:
        return Answer(text=answer.choices[0].message.content, model=answer.model)

    def read_event(self, event: Any) -> str:
        content = event.data.choices[0].delta.content
        return content if isinstance(content, str) else ""


class GoogleContent(Door):
    suffix = ""
    candidates = (("demo-google", "gemini-flash-lite"), ("demo-openai", "gpt-4o-mini"))
    error = genai.errors.ServerError
    invalid = ValidationError

    def make(self, http: Any, url: str, *, retries: int) -> Any:
        name = "httpx_client" if self.blocks else "httpx_async_client"
        retrying = genai_types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.01)
        options = genai_types.HttpOptions(base_url=url, retry_options=retrying, **{name: http})
        return genai.Client(api_key="test", http_options=options)

    def ask(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self._call(sdk, "generate_content", headers)

    def stream(self, sdk: Any, headers: dict[str, str]) -> Any:
        return self._call(sdk, "generate_content_stream", headers)

    def _call(self, sdk: Any, method: str, headers: dict[str, str]) -> Any:
        models = sdk.models if self.blocks else sdk.aio.models
        options = genai_types.HttpOptions(headers=headers)
        config = genai_types.GenerateContentConfig(
            max_output_tokens=MAX_TOKENS, http_options=options
        )
        return getattr(models, method)(model=MODEL, contents=PROMPT, config=config)

    def read(self, answer: Any) -> Answer:
        return Answer(text=answer.text, model=answer.model_version)

    def read_event(self, event: Any) -> str:
        return event.text or ""


KINDS = (
    OpenAIChat,
    LegacyOpenAIChat,
    OpenAIResponses,
    AnthropicMessages,
    MistralChat,
    GoogleContent,
)
DOORS = tuple(kind(blocks=blocks) for kind in KINDS for blocks in (False, True))


class Caller:
    """A backend behind one door; whatever its manner, it can be awaited."""

    def __init__(
        self, door: Door, target: str, providers: StandInProcess, *, retries: int, **options: Any
    ) -> None:
        self.door = door
        kind = headgate.SyncClient if door.blocks else headgate.Client
        govern: Callable[..., Any] = (
            headgate.governed_client if door.blocks else headgate.governed_async_client
        )
        self.gate: Any = kind(target, api_key=API_KEY)
        urls = door.urls(providers)
        self.http = govern(
            "chat", client=self.gate, providers=urls, library=door.library, **options
        )
        url = urls[door.candidates[0][0]].base_url
        self.sdk = door.make(self.http, url, retries=retries)

    async def ask(self, **headers: str) -> Answer:
        told = _headers(headers)
        if self.door.blocks:
            return self.door.read(await asyncio.to_thread(self.door.ask, self.sdk, told))
        return self.door.read(await self.door.ask(self.sdk, told))

    async def stream(self, **headers: str) -> str:
        told = _headers(headers)
        if self.door.blocks:
            return await asyncio.to_thread(lambda: "".join(self._read_blocking(told)))
        events = await self.door.stream(self.sdk, told)
        return "".join([self.door.read_event(event) async for event in events])

    def _read_blocking(self, headers: dict[str, str]) -> Iterator[str]:
        for event in self.door.stream(self.sdk, headers):
            yield self.door.read_event(event)

    async def close(self) -> None:
        if self.door.blocks:
            await asyncio.to_thread(self.http.close)
            await asyncio.to_thread(self.gate.close)
        else:
            await self.http.aclose()
            await self.gate.close()


def _headers(told: dict[str, str]) -> dict[str, str]:
    return {f"x-stand-in-{name.replace('_', '-')}": value for name, value in told.items()}


def is_new(http: Any) -> bool:
    """Tells whether a client is of the newer HTTP library."""
    return isinstance(http, (httpx2.Client, httpx2.AsyncClient))
