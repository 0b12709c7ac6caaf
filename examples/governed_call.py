"""One governed call: `python examples/governed_call.py TEXT` prints a summary of the text.

Reads HEADGATE_API_KEY, HEADGATE_TARGET (default: the gateway of this machine) and PROVIDERS_URL,
below which `/{provider}/v1` has to speak OpenAI's protocol for each provider of the route.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httpx2

import headgate


async def summarize(client: headgate.Client, http: httpx2.AsyncClient, text: str) -> str:
    async def ask(call: headgate.Call) -> str:
        body = {"model": call.model, "max_completion_tokens": call.max_output_tokens}
        body["messages"] = [{"role": "user", "content": text}]
        reply = await http.post(f"/{call.provider}/v1/chat/completions", json=body)
        used = reply.raise_for_status().json()["usage"]
        cached = used["prompt_tokens_details"]["cached_tokens"]
        call.report(input_tokens=used["prompt_tokens"] - cached, cache_read_tokens=cached)
        call.report(output_tokens=used["completion_tokens"])
        return str(reply.json()["choices"][0]["message"]["content"])

    try:
        return await client.run("summarize", ask, input_bytes=len(text.encode()))
    except (headgate.Denied, headgate.AllCandidatesFailed) as refused:
        return refused.fallback_text


async def main(text: str) -> None:
    target = os.environ.get("HEADGATE_TARGET", "127.0.0.1:7400")
    client = headgate.Client(target, api_key=os.environ["HEADGATE_API_KEY"])
    async with client, httpx2.AsyncClient(base_url=os.environ["PROVIDERS_URL"]) as http:
        print(await summarize(client, http, text))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
