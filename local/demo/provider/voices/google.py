"""Google's generated content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.demo.provider.generation import ChatRequest
from local.demo.provider.voices.voice import Call, Voice, event, read_bound, read_messages


class GenerateContent(Voice):
    """POST /{provider}/v1/models/{model}:generateContent, or :streamGenerateContent."""

    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""
        settings = body.get("generationConfig")
        bound = settings.get("maxOutputTokens") if isinstance(settings, dict) else None
        return ChatRequest(
            model=params["model"],
            prompt_tokens=read_messages("contents", body.get("contents"), content="parts"),
            max_tokens=read_bound("maxOutputTokens", bound),
            stream=params["method"].startswith("stream"),
        )

    def usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object: thoughts are no part of the candidates."""
        used = call.course.usage
        return {
            "promptTokenCount": used.prompt_tokens,
            "cachedContentTokenCount": used.cached_tokens,
            "candidatesTokenCount": used.completion_tokens - used.reasoning_tokens,
            "thoughtsTokenCount": used.reasoning_tokens,
            "totalTokenCount": used.prompt_tokens + used.completion_tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used.prompt_tokens}],
        }

    def whole(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer in one piece."""
        finish = "MAX_TOKENS" if call.course.truncated else "STOP"
        return self._answer(call, call.words, usage, finishReason=finish)

    def begin(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events before the first word."""
        return ()

    def piece(self, call: Call, words: str) -> bytes:
        """Returns the event that carries some words, with the usage as it is by then."""
        used = call.course.usage_at(call.token_count)
        so_far = {
            "promptTokenCount": used.prompt_tokens,
            "cachedContentTokenCount": used.cached_tokens,
            "candidatesTokenCount": used.completion_tokens - used.reasoning_tokens,
            "thoughtsTokenCount": used.reasoning_tokens,
        }
        return event(self._answer(call, words, so_far))

    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word."""
        finish = "MAX_TOKENS" if call.course.truncated else "STOP"
        return (event(self._answer(call, "", usage, finishReason=finish)),)

    def error(self, status: int, message: str) -> dict[str, Any]:
        """Returns the body of an error."""
        return {"error": {"code": status, "message": message, "status": "STAND_IN"}}

    def _answer(
        self, call: Call, words: str, usage: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": words}]}
        return {
            "candidates": [{"content": content, "index": 0, **more}],
            "usageMetadata": usage,
            "modelVersion": call.request.model,
            "responseId": call.call_id,
        }
