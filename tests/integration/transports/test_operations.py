"""The ten example operations: each governed by a real gateway, booked exactly as it is billed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anthropic
import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import types as genai_types

import headgate
from local.demo.stand_in import StandInProcess
from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, System
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system
from tests.integration.transports.books import bill, billed

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILE: Final = Path(__file__).parents[3] / "examples/operations.yaml"
WORDS: Final[Any] = [{"role": "user", "content": "Write to Ada about the canal."}]
SOUND: Final = ("said.wav", b"RIFF" + bytes(50_000), "audio/wav")
# What each operation is billed by.
METERS: Final = {
    "chat": {"input_token_count", "output_token_count"},
    "agent": {
        # All of a short input may come from the provider's cache, or go there.
        *("output_token_count", "web_search_count"),
        *("cache_write_5m_token_count", "cache_write_1h_token_count"),
    },
    "memory-synthesis": {"input_token_count", "output_token_count"},
    "sentiment": {"input_token_count", "output_token_count"},
    "video-understanding": {"input_token_count", "output_token_count"},
    "audio-transcription": {"audio_ms"},
    "text-to-speech": {"character_count"},
    "email": {"input_token_count", "output_token_count"},
    "embeddings": {"input_token_count"},
    "image-generation": {"image_count"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(system: System) -> str:
    """The gateway, with the prices and routes of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
        command = Commands(system.addresses["gateway"])
        priced = await command("prices", "import", str(FILE))
        routed = await command("routes", "set", "--file", str(FILE), "--json")
    assert priced.code == 0, priced.err
    assert {each["operation"] for each in routed.json()["routes"]} == set(METERS)
    return system.addresses["gateway"]


async def ask_openai(operation: str, url: str, http: Any) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{url}/demo-openai/v1", api_key="sk", http_client=http
    ) as sdk:
        if operation == "audio-transcription":
            await sdk.audio.transcriptions.create(model="own", file=SOUND)
        elif operation == "text-to-speech":
            await sdk.audio.speech.create(model="own", voice="alloy", input="Héllo there")
        elif operation == "embeddings":
            await sdk.embeddings.create(model="own", input=["some words"], encoding_format="float")
        elif operation == "image-generation":
            await sdk.images.generate(model="own", prompt="a canal with a gate", n=2)
        else:
            stream: Any = await sdk.chat.completions.create(
                model="own", messages=WORDS, stream=operation == "chat"
            )
            if operation == "chat":
                assert [chunk async for chunk in stream]


async def ask_anthropic(operation: str, url: str, http: Any) -> None:
    told = {
        "x-stand-in-written-tokens": "30",
        "x-stand-in-kept-tokens": "20",
        "x-stand-in-searches": "2",
    }
    async with anthropic.AsyncAnthropic(
        base_url=f"{url}/demo-anthropic", api_key="k", http_client=http
    ) as sdk:
        words: Any = [{"role": "user", "content": "word " * 400}]
        await sdk.messages.create(model="own", max_tokens=90, messages=words, extra_headers=told)


async def ask_google(operation: str, url: str, http: Any) -> None:
    options = genai_types.HttpOptions(base_url=f"{url}/demo-google", httpx_async_client=http)
    sdk = genai.Client(api_key="k", http_options=options)
    asked: Any = ["How does this sound?"]
    if operation == "video-understanding":
        asked.append(genai_types.Part.from_bytes(data=bytes(9_000), mime_type="video/mp4"))
    await sdk.aio.models.generate_content(model="own", contents=asked)


ASKS: Final[dict[str, Callable[[str, str, Any], Awaitable[None]]]] = {
    "agent": ask_anthropic,
    "memory-synthesis": ask_google,
    "sentiment": ask_google,
    "video-understanding": ask_google,
}


@pytest.mark.parametrize("operation", METERS)
async def test_an_example_operation_is_governed_and_booked_as_billed(
    target: str, system: System, stand_in: StandInProcess, operation: str
) -> None:
    stand_in.bill_path.write_text("")
    async with headgate.Client(target, api_key=ACME_KEY) as client:
        names = ("demo-openai", "demo-anthropic", "demo-google")
        # All of them speak chat completions, too.
        path = "" if operation in ASKS else "/v1"
        http = headgate.governed_async_client(
            operation,
            client=client,
            providers={name: f"{stand_in.url}/{name}{path}" for name in names},
        )
        await ASKS.get(operation, ask_openai)(operation, stand_in.url, http)
        await http.aclose()
    (line,) = bill(stand_in)
    (row,) = await system.fetch(
        "accounting", "SELECT * FROM usage_log WHERE operation = $1", operation
    )

    meters = billed(line)
    assert set(meters) >= METERS[operation]
    assert row["total_nanos"] == line["nanos"] > 0
    assert row["held_nanos"] >= line["nanos"] or operation == "agent"
    assert {name: row[name] for name in meters} == meters
