"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.demo.provider.generation import ChatRequest
from local.demo.provider.voices.voice import (
    BadRequestError,
    Call,
    Voice,
    event,
    read_bound,
    read_messages,
    read_model,
)


class Messages(Voice):
    """POST /{provider}/v1/messages."""

    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""
        if body.get("max_tokens") is None:
            raise BadRequestError("max_tokens: field required")
        return ChatRequest(
            model=read_model(body),
            prompt_tokens=read_messages("messages", body.get("messages")),
            max_tokens=read_bound("max_tokens", body["max_tokens"]),
            stream=body.get("stream") is True,
        )

    def usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object: its input has nothing of the caches."""
        used = call.course.usage
        written = used.written_tokens + used.kept_tokens
        return {
            "input_tokens": used.prompt_tokens - used.cached_tokens - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": used.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": used.written_tokens,
                "ephemeral_1h_input_tokens": used.kept_tokens,
            },
            "output_tokens": used.completion_tokens,
            "output_tokens_details": {"thinking_tokens": used.reasoning_tokens},
            "server_tool_use": {"web_search_requests": used.searches, "web_fetch_requests": 0},
            "service_tier": "standard",
        }

    def whole(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer in one piece."""
        return {
            **self._frame(call, usage),
            "content": [{"type": "text", "text": call.words}],
            "stop_reason": _stop_reason(call),
        }

    def begin(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events before the first word; the output has only begun."""
        started = {**usage, "output_tokens": 1}
        started.pop("output_tokens_details", None)
        return (
            _typed("message_start", message=self._frame(call, started)),
            _typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            _typed("ping"),
        )

    def piece(self, call: Call, words: str) -> bytes:
        """Returns the event that carries some words."""
        delta = {"type": "text_delta", "text": words}
        return _typed("content_block_delta", index=0, delta=delta)

    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word: usage that has changed since the start."""
        told = {
            name: usage[name]
            for name in ("output_tokens", "output_tokens_details", "server_tool_use")
        }
        stop = {"stop_reason": _stop_reason(call), "stop_sequence": None}
        return (
            _typed("content_block_stop", index=0),
            _typed("message_delta", delta=stop, usage=told),
            _typed("message_stop"),
        )

    def error(self, status: int, message: str) -> dict[str, Any]:
        """Returns the body of an error."""
        return {"type": "error", "error": {"type": "stand_in", "message": message}}

    def _frame(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg-{call.call_id}",
            "type": "message",
            "role": "assistant",
            "model": call.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }


def _stop_reason(call: Call) -> str:
    return "max_tokens" if call.course.truncated else "end_turn"


def _typed(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)
