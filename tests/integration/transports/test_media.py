"""What answers with no text: each is booked by its own meters, as the provider bills it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from mistralai.client import Mistral

import headgate
from headgate.testing import API_KEY, FakeGateway
from local.demo.stand_in import StandInProcess
from tests.integration.transports.books import bill, billed, reported, reports

Govern = Callable[..., Any]

ROUTES = {
    "embeddings": (("demo-openai", "text-embedding-3-small"),),
    "speech": (("demo-openai", "tts-1"),),
    "transcription": (("demo-openai", "whisper-1"),),
    "image": (("demo-openai", "gpt-image-1"),),
    "picture": (("demo-openai", "dall-e-3"),),
    "google-embeddings": (("demo-google", "gemini-embedding-001"),),
    "mistral-embeddings": (("demo-mistral", "mistral-embed"),),
    "research": (("demo-anthropic", "claude-haiku"),),
    "video": (("demo-google", "gemini-flash-lite"),),
}


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    gateway.ledger.routes = dict(ROUTES)
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
async def govern(client: headgate.Client) -> AsyncIterator[Govern]:
    made: list[Any] = []

    def make(operation: str, url: str, dialect: str = "") -> Any:
        home = headgate.Provider(base_url=url, dialect=dialect)
        providers = {ROUTES[operation][0][0]: home}
        made.append(headgate.governed_async_client(operation, client=client, providers=providers))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.mark.parametrize(
    "operation", ["embeddings", "speech", "transcription", "image", "picture"]
)
async def test_an_operation_of_openai_is_booked_as_billed(
    gateway: FakeGateway, govern: Govern, providers: StandInProcess, operation: str
) -> None:
    url = f"{providers.url}/demo-openai/v1"
    http = govern(operation, url)
    async with openai.AsyncOpenAI(base_url=url, api_key="sk", http_client=http) as sdk:
        answer: Any
        if operation == "embeddings":
            answer = await sdk.embeddings.create(
                model="own", input=["some words", "more"], encoding_format="float"
            )
            assert len(answer.data) == 2
        elif operation == "speech":
            answer = await sdk.audio.speech.create(model="own", voice="alloy", input="Héllo there")
            assert answer.content.startswith(b"ID3")
        elif operation == "transcription":
            sound = ("said.wav", b"RIFF" + bytes(50_000), "audio/wav")
            answer = await sdk.audio.transcriptions.create(model="own", file=sound)
            assert answer.text == "word word word"
        else:
            answer = await sdk.images.generate(model="own", prompt="a canal with a gate", n=2)
            assert len(answer.data) == 2
    (report,), (line,) = reports(gateway), bill(providers)

    assert line["model"] == ROUTES[operation][0][1]
    assert reported(report) == billed(line)
    assert gateway.ledger.held_nanos("acme") == 0


async def test_embeddings_of_google_are_booked_as_billed(
    gateway: FakeGateway, govern: Govern, providers: StandInProcess
) -> None:
    url = f"{providers.url}/demo-google"
    options = genai_types.HttpOptions(
        base_url=url, httpx_async_client=govern("google-embeddings", url)
    )
    sdk = genai.Client(api_key="k", http_options=options)
    texts: Any = ["some words", "more of them"]
    answer = await sdk.aio.models.embed_content(model="own", contents=texts)

    assert len(answer.embeddings or ()) == 2
    assert reported(reports(gateway)[0]) == billed(bill(providers)[0]) == {"input_token_count": 5}


async def test_embeddings_of_mistral_are_booked_as_billed(
    gateway: FakeGateway, govern: Govern, providers: StandInProcess
) -> None:
    url = f"{providers.url}/demo-mistral/mistral"
    http = govern("mistral-embeddings", url, "mistral")
    sdk = Mistral(api_key="k", server_url=url, async_client=http)
    await sdk.embeddings.create_async(model="own", inputs=["some words"])

    assert reported(reports(gateway)[0]) == billed(bill(providers)[0]) == {"input_token_count": 2}


@pytest.mark.parametrize("streams", [False, True])
async def test_caches_and_searches_of_anthropic_are_booked_as_billed(
    gateway: FakeGateway, govern: Govern, providers: StandInProcess, streams: bool
) -> None:
    url = f"{providers.url}/demo-anthropic"
    http = govern("research", url)
    told = {
        "x-stand-in-written-tokens": "30",
        "x-stand-in-kept-tokens": "20",
        "x-stand-in-searches": "2",
    }
    async with anthropic.AsyncAnthropic(base_url=url, api_key="k", http_client=http) as sdk:
        asked: Any = sdk.messages.create(
            model="own",
            max_tokens=90,
            messages=[{"role": "user", "content": "word " * 4000}],
            stream=streams,
            extra_headers=told,
        )
        answer = await asked
        if streams:
            [event async for event in answer]
    (report,), (line,) = reports(gateway), bill(providers)

    assert reported(report) == billed(line)
    assert report.meters.cache_write_5m_token_count == 30
    assert report.meters.cache_write_1h_token_count == 20
    assert report.meters.web_search_count == 2


async def test_a_video_is_understood_and_booked_as_billed(
    gateway: FakeGateway, govern: Govern, providers: StandInProcess
) -> None:
    url = f"{providers.url}/demo-google"
    options = genai_types.HttpOptions(base_url=url, httpx_async_client=govern("video", url))
    sdk = genai.Client(api_key="k", http_options=options)
    video: Any = genai_types.Part.from_bytes(data=bytes(9_000), mime_type="video/mp4")
    question: Any = [video, "What happens here?"]
    answer = await sdk.aio.models.generate_content(model="own", contents=question)

    assert (answer.text or "").startswith("word")
    assert reported(reports(gateway)[0]) == billed(bill(providers)[0])
