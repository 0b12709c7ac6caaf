"""How many tokens a request's input can be at most, without any tokenizer.

No tokenizer makes more tokens of a text than it has bytes in UTF-8. That is the bound; a quarter
of the characters is none (tests/unit/headgate/test_bounds.py compares it with real tokenizers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def input_tokens(body: Mapping[str, Any]) -> int:
    """Returns the most tokens that a request's body can be."""
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
