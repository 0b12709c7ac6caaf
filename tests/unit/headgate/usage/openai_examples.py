"""Usage objects as OpenAI documents them, and what each of them uses."""

from __future__ import annotations

from headgate.usage import openai
from tests.unit.headgate.usage.example import Example

OPENAI_EXAMPLES = (
    Example(
        name="openai chat",
        read=openai.chat,
        usage={
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 128,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        # 2006 - 1920, 300 - 128
        meters={
            "input_token_count": 86,
            "cache_read_token_count": 1920,
            "audio_input_token_count": 0,
            "output_token_count": 172,
            "reasoning_token_count": 128,
            "audio_output_token_count": 0,
        },
        provider="openai",
        flavour="chat",
    ),
    Example(
        name="openai chat without details",
        read=openai.chat,
        usage={"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
        meters={"input_token_count": 19, "output_token_count": 10},
        provider="openai",
        flavour="chat",
    ),
    Example(
        name="openai chat with audio",
        read=openai.chat,
        usage={
            "prompt_tokens": 142,
            "completion_tokens": 170,
            "prompt_tokens_details": {"audio_tokens": 100, "text_tokens": 42, "cached_tokens": 50},
            "completion_tokens_details": {"audio_tokens": 120, "text_tokens": 50},
        },
        # Of 50 cached tokens 42 are text, as much as there was: 8 are audio. 100 - 8, 170 - 120
        meters={
            "input_token_count": 0,
            "cache_read_token_count": 42,
            "audio_input_token_count": 92,
            "audio_cache_read_token_count": 8,
            "output_token_count": 50,
            "audio_output_token_count": 120,
        },
    ),
    Example(
        name="openai responses",
        read=openai.responses,
        usage={
            "input_tokens": 328,
            "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 28},
            "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 12},
            "total_tokens": 380,
        },
        meters={
            "input_token_count": 200,
            "cache_read_token_count": 100,
            "cache_write_5m_token_count": 28,
            "output_token_count": 40,
            "reasoning_token_count": 12,
        },
        provider="openai",
        flavour="responses",
    ),
    Example(
        name="openai responses with caches of two lifetimes",
        read=openai.responses,
        usage={
            "input_tokens": 1000,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 900,
                "cache_write_tokens_details": {"ttl_30m_tokens": 300, "ttl_12h_tokens": 600},
            },
            "output_tokens": 5,
        },
        meters={
            "input_token_count": 100,
            "cache_read_token_count": 0,
            "cache_write_5m_token_count": 300,
            "cache_write_1h_token_count": 600,
            "output_token_count": 5,
        },
    ),
    Example(
        name="openai embeddings",
        read=openai.embeddings,
        usage={"prompt_tokens": 8, "total_tokens": 8},
        meters={"input_token_count": 8},
        provider="openai",
        flavour="embeddings",
    ),
    Example(
        name="openai transcription by tokens",
        read=openai.transcription,
        usage={
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        meters={"input_token_count": 4, "audio_input_token_count": 10, "output_token_count": 45},
    ),
    Example(
        name="openai transcription by duration",
        read=openai.transcription,
        usage={"type": "duration", "seconds": 3.5},
        meters={"audio_ms": 3500},
    ),
    Example(
        name="openai speech",
        read=openai.speech,
        usage={"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
        meters={"input_token_count": 14, "audio_output_token_count": 101},
    ),
    Example(
        name="openai images",
        read=openai.images,
        usage={
            "total_tokens": 4251,
            "input_tokens": 91,
            "output_tokens": 4160,
            "input_tokens_details": {"text_tokens": 50, "image_tokens": 41},
        },
        meters={
            "input_token_count": 50,
            "image_input_token_count": 41,
            "image_output_token_count": 4160,
        },
        provider="openai",
        flavour="images",
    ),
)
