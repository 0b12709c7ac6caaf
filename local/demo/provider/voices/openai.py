"""OpenAI's chat completions and responses, and Mistral's chat, which is written alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.demo.provider.generation import ChatRequest
from local.demo.provider.voices.voice import (
    BadRequestError,
    Call,
    Voice,
    count_words,
    event,
    read_bound,
    read_messages,
    read_model,
)

DONE = b"data: [DONE]\n\n"


class ChatCompletions(Voice):
    """POST /{provider}/v1/chat/completions."""

    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""
        bound = body.get("max_completion_tokens", body.get("max_tokens"))
        options = body.get("stream_options") or {}
        return ChatRequest(
            model=read_model(body),
            prompt_tokens=read_messages("messages", body.get("messages")),
            max_tokens=read_bound("max_tokens", bound),
            stream=body.get("stream") is True,
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object."""
        usage = call.course.usage
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }

    def whole(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer in one piece."""
        message = {"role": "assistant", "content": call.words}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason(call)}
        return {**_frame(call, "chat.completion"), "choices": [choice], "usage": usage}

    def begin(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events before the first word."""
        return (_chunk(call, {"role": "assistant", "content": ""}),)

    def piece(self, call: Call, words: str) -> bytes:
        """Returns the event that carries some words."""
        return _chunk(call, {"content": words})

    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word."""
        last = _chunk(call, {}, finish=finish_reason(call))
        if not call.request.include_usage:
            return (last, DONE)
        told = {**_frame(call, "chat.completion.chunk"), "choices": [], "usage": usage}
        return (last, event(told), DONE)


class MistralChat(ChatCompletions):
    """POST /{provider}/mistral/v1/chat/completions, which knows its own fields only."""

    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""
        for name in ("stream_options", "max_completion_tokens"):
            if name in body:
                raise BadRequestError(f"{name}: extra inputs are not permitted")
        return super().parse(params, body)

    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word: the last of them tells the usage unasked."""
        return (_chunk(call, {"content": ""}, finish=finish_reason(call), usage=usage), DONE)


class Responses(Voice):
    """POST /{provider}/v1/responses."""

    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""
        given = body.get("input")
        tokens = count_words(given) if isinstance(given, str) else read_messages("input", given)
        return ChatRequest(
            model=read_model(body),
            prompt_tokens=tokens,
            max_tokens=read_bound("max_output_tokens", body.get("max_output_tokens")),
            stream=body.get("stream") is True,
        )

    def usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object."""
        usage = call.course.usage
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": 0,
            },
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }

    def whole(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer in one piece."""
        part = {"type": "output_text", "text": call.words, "annotations": []}
        message = {
            "id": f"msg-{call.call_id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        return {**self._frame(call, "completed"), "output": [message], "usage": usage}

    def begin(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events before the first word."""
        begun = {**self._frame(call, "in_progress"), "output": [], "usage": None}
        return (_typed("response.created", response=begun, sequence_number=0),)

    def piece(self, call: Call, words: str) -> bytes:
        """Returns the event that carries some words."""
        return _typed(
            "response.output_text.delta",
            item_id=f"msg-{call.call_id}",
            output_index=0,
            content_index=0,
            sequence_number=1,
            delta=words,
            logprobs=[],
        )

    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word."""
        answer = self.whole(call, usage)
        return (_typed("response.completed", response=answer, sequence_number=2),)

    def _frame(self, call: Call, status: str) -> dict[str, Any]:
        return {
            "id": f"resp-{call.call_id}",
            "object": "response",
            "created_at": 0,
            "status": status,
            "model": call.request.model,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }


def finish_reason(call: Call) -> str:
    """Returns why the answer ends."""
    return "length" if call.course.truncated else "stop"


def _frame(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{call.call_id}",
        "object": kind,
        "created": 0,
        "model": call.request.model,
    }


def _chunk(
    call: Call, delta: Mapping[str, str], *, finish: str | None = None, **more: Any
) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({**_frame(call, "chat.completion.chunk"), "choices": [choice], **more})


def _typed(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)
