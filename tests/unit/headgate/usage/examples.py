"""Usage objects as providers document them, and what each of them uses."""

from __future__ import annotations

from headgate.usage import anthropic, bedrock, cohere, deepseek, google, mistral
from tests.unit.headgate.usage.example import Example
from tests.unit.headgate.usage.openai_examples import OPENAI_EXAMPLES

EXAMPLES = (
    *OPENAI_EXAMPLES,
    Example(
        name="anthropic message",
        read=anthropic.messages,
        usage={
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 148,
                "ephemeral_1h_input_tokens": 100,
            },
            "output_tokens": 503,
        },
        meters={
            "input_token_count": 2048,
            "cache_read_token_count": 1800,
            "cache_write_5m_token_count": 148,
            "cache_write_1h_token_count": 100,
            "output_token_count": 503,
        },
        provider="anthropic",
        flavour="default",
    ),
    Example(
        name="anthropic message with a cache of unknown lifetime",
        read=anthropic.messages,
        usage={"input_tokens": 21, "cache_creation_input_tokens": 188086, "output_tokens": 393},
        meters={
            "input_token_count": 21,
            "cache_write_5m_token_count": 188086,
            "output_token_count": 393,
        },
        provider="anthropic",
        flavour="default",
    ),
    Example(
        name="anthropic message with server tools and thinking",
        read=anthropic.messages,
        usage={
            "input_tokens": 105,
            "output_tokens": 6039,
            "output_tokens_details": {"thinking_tokens": 1039},
            "cache_read_input_tokens": 7123,
            "cache_creation_input_tokens": 7345,
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
            "service_tier": "standard",
        },
        meters={
            "input_token_count": 105,
            "cache_read_token_count": 7123,
            "cache_write_5m_token_count": 7345,
            "output_token_count": 5000,
            "reasoning_token_count": 1039,
            "web_search_count": 1,
        },
        provider="anthropic",
        flavour="default",
    ),
    Example(
        name="gemini",
        read=google.gemini,
        usage={
            "promptTokenCount": 1300,
            "cachedContentTokenCount": 1000,
            "candidatesTokenCount": 76,
            "thoughtsTokenCount": 824,
            "totalTokenCount": 2200,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1300}],
        },
        meters={
            "input_token_count": 300,
            "cache_read_token_count": 1000,
            "output_token_count": 76,
            "reasoning_token_count": 824,
        },
        provider="google",
        flavour="default",
        root="usageMetadata",
    ),
    Example(
        name="gemini with audio, a cache of audio, tools and an image",
        read=google.gemini,
        usage={
            "promptTokenCount": 1000,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 400},
                {"modality": "AUDIO", "tokenCount": 600},
            ],
            "cachedContentTokenCount": 500,
            "cacheTokensDetails": [
                {"modality": "TEXT", "tokenCount": 300},
                {"modality": "AUDIO", "tokenCount": 200},
            ],
            "toolUsePromptTokenCount": 70,
            "candidatesTokenCount": 1310,
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": 20},
                {"modality": "IMAGE", "tokenCount": 1290},
            ],
        },
        # Audio 600 - 200. The rest: 1000 + 70 - 500 cached - 400 fresh audio. Text 500 - 200.
        meters={
            "input_token_count": 170,
            "cache_read_token_count": 300,
            "audio_input_token_count": 400,
            "audio_cache_read_token_count": 200,
            "output_token_count": 20,
            "image_output_token_count": 1290,
        },
    ),
    Example(
        name="mistral chat",
        read=mistral.chat,
        usage={"prompt_tokens": 14, "completion_tokens": 78, "total_tokens": 92},
        meters={"input_token_count": 14, "output_token_count": 78},
        provider="mistral",
        flavour="default",
    ),
    Example(
        name="mistral transcription",
        read=mistral.chat,
        usage={
            "prompt_audio_seconds": 203,
            "prompt_tokens": 4,
            "completion_tokens": 635,
            "total_tokens": 3264,
        },
        meters={"input_token_count": 4, "output_token_count": 635, "audio_ms": 203_000},
    ),
    Example(
        name="mistral documents",
        read=mistral.pages,
        usage={"pages_processed": 29, "doc_size_bytes": 3002783},
        meters={"page_count": 29},
    ),
    Example(
        name="cohere chat",
        read=cohere.billed,
        usage={
            "billed_units": {"input_tokens": 5, "output_tokens": 418},
            "tokens": {"input_tokens": 71, "output_tokens": 418},
        },
        meters={"input_token_count": 5, "output_token_count": 418},
        provider="cohere",
        flavour="default",
    ),
    Example(
        name="cohere embeddings",
        read=cohere.billed,
        usage={"api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}},
        meters={"input_token_count": 2},
        provider="cohere",
        flavour="embeddings",
        root="meta",
    ),
    Example(
        name="bedrock converse",
        read=bedrock.converse,
        usage={
            "inputTokens": 30,
            "outputTokens": 628,
            "totalTokens": 1858,
            "cacheReadInputTokens": 1000,
            "cacheWriteInputTokens": 200,
            "cacheDetails": [
                {"inputTokens": 50, "ttl": "1h"},
                {"inputTokens": 150, "ttl": "5m"},
            ],
        },
        meters={
            "input_token_count": 30,
            "cache_read_token_count": 1000,
            "cache_write_5m_token_count": 150,
            "cache_write_1h_token_count": 50,
            "output_token_count": 628,
        },
        provider="aws",
        flavour="default",
    ),
    Example(
        name="deepseek chat",
        read=deepseek.chat,
        usage={
            "prompt_tokens": 1024,
            "completion_tokens": 256,
            "total_tokens": 1280,
            "prompt_cache_hit_tokens": 960,
            "prompt_cache_miss_tokens": 64,
            "prompt_tokens_details": {"cached_tokens": 960},
            "completion_tokens_details": {"reasoning_tokens": 200},
        },
        meters={
            "input_token_count": 64,
            "cache_read_token_count": 960,
            "output_token_count": 56,
            "reasoning_token_count": 200,
        },
        provider="deepseek",
        flavour="chat",
    ),
)
