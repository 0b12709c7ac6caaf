"""A governed stream of the `openai` package: `python examples/governed_openai.py QUESTION`.

Reads HEADGATE_API_KEY, HEADGATE_TARGET (default: the gateway of this machine) and PROVIDERS_URL,
below which `/{provider}/v1` has to speak OpenAI's protocol for each provider of the route "chat".
"""

from __future__ import annotations

import os
import sys

import openai

import headgate


def main(question: str) -> None:
    base = os.environ["PROVIDERS_URL"]
    providers = {name: f"{base}/{name}/v1" for name in ("demo-openai", "demo-anthropic")}

    http = headgate.governed_client("chat", providers=providers, on_refused="fallback")
    client = openai.OpenAI(
        base_url=providers["demo-openai"], api_key="of the provider", http_client=http
    )
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}], stream=True
    )
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
