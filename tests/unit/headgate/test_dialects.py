"""Every endpoint that is governed: what it asks for, what it is sent, what it tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate import dialects
from headgate.dialects import multipart
from headgate.dialects.shape import Asked, Sent, Shape, UnreadableError, Watch

CHAT = {"model": "own", "messages": [{"role": "user", "content": "Why?"}]}
GOOGLE = {"contents": [{"parts": [{"text": "Why?"}]}]}
# URL's path, body, and what the model becomes where.
ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "own", "prompt": "Why"},
    "/v1/fim/completions": {"model": "own", "prompt": "def f(", "suffix": "return"},
    "/v1/responses": {"model": "own", "input": "Why?"},
    "/v1/embeddings": {"model": "own", "input": ["Why?"]},
    "/v1/audio/speech": {"model": "own", "input": "Why?", "voice": "alloy"},
    "/v1/images/generations": {"model": "own", "prompt": "A gate."},
    "/v1/images/edits": {"model": "own", "prompt": "A gate."},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/v2/chat": CHAT,
    "/v2/embed": {"model": "own", "texts": ["Why?"]},
    "/v1/ocr": {"model": "own", "document": {"document_url": "https://x.test/a.pdf"}},
}
SPEAKING = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v2/chat"),
)


def shape_of(path: str, dialect: str = "") -> Shape:
    endpoint = dialects.find(path)
    assert endpoint is not None
    return endpoint.shape.as_spoken_by(dialect)


def read(path: str, body: Any, dialect: str = "") -> tuple[Shape, Asked]:
    shape = shape_of(path, dialect)
    return shape, shape.read(Sent(path=path, content=json.dumps(body).encode()))


def written(path: str, body: Any, dialect: str = "") -> dict[str, Any]:
    shape, asked = read(path, body, dialect)
    _, content = shape.write(asked, model="chosen", max_output_tokens=100)
    sent: dict[str, Any] = json.loads(content)
    return sent


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_model_is_replaced_and_the_rest_stays(path: str) -> None:
    body = {**ENDPOINTS[path], "user": "u", "stream": False}
    sent = written(path, body)

    assert sent["model"] == "chosen"
    assert {name: sent[name] for name in body if name != "model"} == {
        name: value for name, value in body.items() if name != "model"
    }


@pytest.mark.parametrize(
    ("path", "name", "dialect"),
    [
        ("/v1/chat/completions", "max_completion_tokens", "openai"),
        ("/v1/chat/completions", "max_tokens", "mistral"),
        ("/v1/chat/completions", "max_tokens", "deepseek"),
        ("/v1/chat/completions", "max_tokens", "compatible"),
        ("/v1/completions", "max_tokens", "openai"),
        ("/v1/fim/completions", "max_tokens", "mistral"),
        ("/v1/responses", "max_output_tokens", "openai"),
        ("/v2/chat", "max_tokens", "cohere"),
    ],
)
def test_the_admitted_bound_is_sent_if_the_request_has_none(
    path: str, name: str, dialect: str
) -> None:
    assert written(path, ENDPOINTS[path], dialect)[name] == 100
    assert written(path, {**ENDPOINTS[path], name: 7}, dialect)[name] == 7


def test_a_bound_is_renamed_for_who_knows_the_older_name_only() -> None:
    sent = written("/v1/chat/completions", {**CHAT, "max_completion_tokens": 5}, "mistral")

    assert sent["max_tokens"] == 5
    assert "max_completion_tokens" not in sent


@pytest.mark.parametrize(("dialect", "asks"), [("openai", True), ("mistral", False)])
def test_streams_are_asked_for_their_usage_where_they_have_to_be(dialect: str, asks: bool) -> None:
    sent = written("/v1/chat/completions", {**CHAT, "stream": True}, dialect)

    assert (sent.get("stream_options") == {"include_usage": True}) is asks


def test_options_of_a_stream_stay() -> None:
    options = {"include_obfuscation": False}
    sent = written("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": options})

    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_the_model_of_google_stands_in_the_path(method: str) -> None:
    path = f"/v1beta/models/own-1.5:{method}"
    shape, asked = read(path, {**GOOGLE, "generationConfig": {"candidateCount": 2, "topK": 1}})
    where, content = shape.write(asked, model="chosen", max_output_tokens=100)

    assert asked.model == "own-1.5"
    assert asked.streams == method.startswith("stream")
    assert where == f"/v1beta/models/chosen:{method}"
    assert json.loads(content)["generationConfig"] == {
        "candidateCount": 2,
        "topK": 1,
        "maxOutputTokens": 50,
    }


def test_embeddings_of_google_repeat_the_model() -> None:
    request = {"model": "models/own", "content": {"parts": [{"text": "Why?"}]}}
    shape, asked = read("/v1/models/own:batchEmbedContents", {"requests": [request]})
    path, content = shape.write(asked, model="chosen", max_output_tokens=0)

    assert path == "/v1/models/chosen:batchEmbedContents"
    assert json.loads(content)["requests"][0]["model"] == "models/chosen"
    assert shape.meters(asked, {"usageMetadata": {"promptTokenCount": 4}}) == {
        "input_token_count": 4
    }


def test_images_of_google_are_counted() -> None:
    shape, asked = read("/v1/models/imagen:predict", {"instances": [{"prompt": "A gate."}]})

    assert shape.meters(asked, {"predictions": [{}, {}]}) == {"image_count": 2}


def test_a_stream_of_google_may_be_one_list() -> None:
    shape, asked = read("/v1/models/own:streamGenerateContent", GOOGLE)
    told = [{"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": n}} for n in (1, 9)]

    assert shape.meters(asked, told) == {"input_token_count": 4, "output_token_count": 9}


def see(path: str, body: dict[str, Any], *events: dict[str, Any]) -> Watch:
    shape, asked = read(path, {**body, "stream": True})
    watch = shape.watch(asked)
    for event in events:
        assert shape.see(asked, watch, event)
    return watch


def test_a_stream_of_responses_tells_at_its_end() -> None:
    usage = {"input_tokens": 5, "output_tokens": 2}
    done = {"type": "response.completed", "response": {"usage": usage, "output": []}}
    watch = see("/v1/responses", ENDPOINTS["/v1/responses"], {"type": "response.created"}, done)

    assert watch.ended
    assert watch.meters == {"input_token_count": 5, "output_token_count": 2}


@pytest.mark.parametrize(
    ("path", "event", "failure"),
    [
        ("/v1/responses", {"type": "response.failed", "response": {}}, "stream_error"),
        ("/v1/chat/completions", {"error": {"message": "no"}}, "stream_error"),
        (
            "/v1/messages",
            {"type": "error", "error": {"type": "overloaded_error"}},
            "overloaded_error",
        ),
        ("/v1/images/generations", {"error": {}}, ""),
    ],
)
def test_a_stream_tells_that_it_failed(path: str, event: dict[str, Any], failure: str) -> None:
    assert see(path, ENDPOINTS[path], event).failure == failure


def test_a_stream_of_speech_is_its_characters_unless_it_tells_tokens() -> None:
    body = ENDPOINTS["/v1/audio/speech"]
    usage = {"input_tokens": 3, "output_tokens": 40}
    told = see("/v1/audio/speech", body, {"type": "speech.audio.done", "usage": usage})

    assert see("/v1/audio/speech", body).meters == {"character_count": 4}
    assert told.meters == {"input_token_count": 3, "audio_output_token_count": 40}


def test_a_stream_of_images_tells_at_its_end() -> None:
    usage = {"input_tokens": 3, "output_tokens": 400}
    done = {"type": "image_generation.completed", "usage": usage}
    watch = see("/v1/images/generations", ENDPOINTS["/v1/images/generations"], done)

    assert watch.meters == {"input_token_count": 3, "image_output_token_count": 400}


def test_a_stream_of_cohere_tells_at_its_end() -> None:
    usage = {"billed_units": {"input_tokens": 3, "output_tokens": 4}}
    watch = see("/v2/chat", CHAT, {"type": "message-end", "delta": {"usage": usage}})

    assert watch.ended
    assert watch.meters == {"input_token_count": 3, "output_token_count": 4}


def test_the_start_of_a_message_tells_nothing_that_holds_if_it_is_cut() -> None:
    usage = {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1}
    start = {"type": "message_start", "message": {"usage": usage}}
    delta = {"type": "message_delta", "usage": {"output_tokens": 15}}

    assert see("/v1/messages", ENDPOINTS["/v1/messages"], start).meters == {}
    assert see("/v1/messages", ENDPOINTS["/v1/messages"], start, delta).meters == {
        "input_token_count": 25,
        "cache_read_token_count": 100,
        "output_token_count": 15,
    }


def form(*, model: str = "own", stream: str = "false") -> tuple[bytes, str]:
    parts = [
        b'Content-Disposition: form-data; name="stream"\r\n\r\n' + stream.encode(),
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + bytes(range(256)) * 40,
        b'Content-Disposition: form-data; name="model"\r\n\r\n' + model.encode(),
    ]
    content = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"
    return content, "multipart/form-data; boundary=cut"


def test_a_form_keeps_everything_but_its_model() -> None:
    content, kind = form(stream="true")
    shape = shape_of("/v1/audio/transcriptions")
    sent = Sent(path="/v1/audio/transcriptions", content=content, content_type=kind)
    asked = shape.read(sent)
    _, written = shape.write(asked, model="a-longer-name", max_output_tokens=0)

    assert asked.model == "own"
    assert asked.streams
    assert written == content.replace(b"own", b"a-longer-name")
    assert 80 <= asked.input_tokens < 10_240
    # 10,240 bytes of a wave of 4,000 bytes a second.
    assert asked.max_units == {"audio_ms": 2_560}


def test_a_transcription_tells_at_its_streams_end() -> None:
    content, kind = form()
    shape = shape_of("/v1/audio/transcriptions")
    asked = shape.read(Sent(path="/x", content=content, content_type=kind))
    watch = shape.watch(asked)
    usage = {"type": "tokens", "input_tokens": 9, "output_tokens": 2}
    shape.see(asked, watch, {"type": "transcript.text.done", "usage": usage})

    assert watch.meters == {"input_token_count": 9, "output_token_count": 2}


@pytest.mark.parametrize("cut", [0, 5, 60, 200, 10_300])
def test_a_form_that_is_cut_off_is_refused(cut: int) -> None:
    content, kind = form()
    shape = shape_of("/v1/audio/transcriptions")

    with pytest.raises(UnreadableError):
        shape.read(Sent(path="/x", content=content[:cut], content_type=kind))


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(UnreadableError):
        multipart.parse(b"", "multipart/form-data")


@pytest.mark.parametrize("path", SPEAKING)
@pytest.mark.parametrize("streams", [False, True])
def test_a_text_is_said_in_the_providers_words(path: str, streams: bool) -> None:
    shape, asked = read(path, {**ENDPOINTS[path], "stream": streams})
    spoken = shape.speak(asked, "Not now.")

    assert spoken is not None
    assert b"Not now." in spoken.content
    assert spoken.content_type == ("text/event-stream" if streams else "application/json")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/audio/speech", "/v1/images/generations"])
def test_what_is_no_text_can_not_be_said(path: str) -> None:
    shape, asked = read(path, ENDPOINTS[path])

    assert shape.speak(asked, "Not now.") is None


@pytest.mark.parametrize("path", ["/v1/models/own", "/v1/batches", "/v1/chat", "/messages"])
def test_other_paths_are_no_endpoints(path: str) -> None:
    assert dialects.find(path) is None
