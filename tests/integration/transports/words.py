"""How streams of several providers begin, event by event."""

from __future__ import annotations

from typing import Any

from tests.integration.transports.test_ends import event


def tell(*events: dict[str, Any]) -> bytes:
    """The events as a provider writes them that names each by its type."""
    return b"".join(f"event: {each['type']}\n".encode() + event(each) for each in events)


_CONTENT = {"type": "text", "text": ""}
COHERE_WORD: tuple[dict[str, Any], ...] = (
    {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": _CONTENT}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "So"}}}},
)
_CLAUDE: dict[str, Any] = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "gpt",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 1},
}
CLAUDE_WORD: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": _CLAUDE},
    {"type": "content_block_start", "index": 0, "content_block": _CONTENT},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "So"}},
)
_THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}
_TOOL = {"type": "tool_use", "id": "2", "name": "look", "input": {}}
# A thought, a text and the beginning of a tool's call.
CLAUDE_WORDS: tuple[dict[str, Any], ...] = (
    CLAUDE_WORD[0],
    {"type": "content_block_start", "index": 0, "content_block": _THOUGHT},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "?"},
    },
    {"type": "content_block_stop", "index": 0},
    {**CLAUDE_WORD[1], "index": 1},
    {**CLAUDE_WORD[2], "index": 1},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": _TOOL},
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"a'},
    },
)
_RESPONSE: dict[str, Any] = {
    "id": "1",
    "object": "response",
    "created_at": 1,
    "status": "in_progress",
    "model": "gpt",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_PART = {"type": "output_text", "text": "", "annotations": []}
_MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "status": "in_progress",
    "content": [],
}
_PLACE = {"item_id": "m", "output_index": 1, "content_index": 0}
_THOUGHT_ITEM = {"type": "reasoning", "id": "r", "summary": []}
_FUNCTION = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": ""}
_RESPONSES: tuple[dict[str, Any], ...] = (
    {"type": "response.created", "response": _RESPONSE},
    {"type": "response.output_item.added", "output_index": 0, "item": _THOUGHT_ITEM},
    {"type": "response.output_item.done", "output_index": 0, "item": _THOUGHT_ITEM},
    {"type": "response.output_item.added", "output_index": 1, "item": _MESSAGE},
    {"type": "response.content_part.added", **_PLACE, "part": _PART},
    {"type": "response.output_text.delta", **_PLACE, "delta": "So", "logprobs": []},
    {"type": "response.output_text.done", **_PLACE, "text": "So", "logprobs": []},
    {"type": "response.content_part.done", **_PLACE, "part": {**_PART, "text": "So"}},
    {"type": "response.output_item.added", "output_index": 2, "item": _FUNCTION},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a'},
)
# A thought, a text and the beginning of a function's call.
RESPONSES_WORDS = tuple({**each, "sequence_number": at} for at, each in enumerate(_RESPONSES))
RESPONSES_WORD = RESPONSES_WORDS[:6]
