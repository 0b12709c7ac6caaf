"""The API's reference as a page that people read: the OpenAPI document, rendered once."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from gateway.web.status import PAGE_HEADERS

HERE: Final = Path(__file__).parent
DOCUMENT_FILE: Final = HERE / "static" / "openapi.json"
_CODE: Final = re.compile(r"`([^`]+)`")
_PREFIX: Final = "#/components/schemas/"


def routes() -> list[Route]:
    """Returns the paths of the document and of its page."""
    return [
        Route("/openapi.json", _send_document),
        Route("/docs", _send_page),
        Route("/docs/reference.css", _send_style),
    ]


async def _send_document(request: Request) -> Response:
    headers = {"access-control-allow-origin": "*"}
    return FileResponse(DOCUMENT_FILE, media_type="application/json", headers=headers)


async def _send_page(request: Request) -> Response:
    return HTMLResponse(render(), headers=PAGE_HEADERS)


async def _send_style(request: Request) -> Response:
    return FileResponse(HERE / "static" / "reference.css", media_type="text/css")


@cache
def render() -> str:
    """Returns the page."""
    document = json.loads(DOCUMENT_FILE.read_text())
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["name_type"] = name_type
    environment.filters["short"] = _short
    environment.filters["prose"] = mark_code
    return environment.get_template("reference.html").render(
        document=document, groups=_group(document), schemas=document["components"]["schemas"]
    )


def name_type(schema: dict[str, Any]) -> str:
    """Names the type of a value as people say it."""
    if "$ref" in schema:
        return _short(schema["$ref"].removeprefix(_PREFIX))
    if schema.get("type") == "array":
        return f"list of {name_type(schema['items'])}"
    if schema.get("additionalProperties"):
        return f"map of {name_type(schema['additionalProperties'])}"
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    kind = str(schema.get("type", "any"))
    detail = schema.get("format") or schema.get("contentEncoding")
    return f"{kind} ({detail})" if detail else kind


def mark_code(text: str | None) -> Markup:
    """Returns a comment with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text or ""))))  # noqa: S704 - escaped


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _group(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the operations by their services, in the services' order."""
    groups = [{**tag, "operations": []} for tag in document["tags"]]
    by_name = {group["name"]: group["operations"] for group in groups}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            by_name[operation["tags"][0]].append({"verb": verb.upper(), "path": path, **operation})
    return groups
