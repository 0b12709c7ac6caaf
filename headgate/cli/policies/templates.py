"""Templates of fallback texts in files.

templates:
  - id: sorry
    default_locale: en
    format: html                # left out: text
    texts:
      en: Please try again in {{ retry_seconds }} seconds.
      de: Bitte versuchen Sie es später.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from headgate.api.gateway.v1 import template_admin_pb2 as pb
from headgate.api.gateway.v1.template_admin_pb2_grpc import TemplateAdminServiceStub
from headgate.cli.policies.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

_FIELDS: Final = ("id", "default_locale", "format", "texts")
_REGION_LENGTH: Final = 2
_SCRIPT_LENGTH: Final = 4


class _Format(str, enum.Enum):
    TEXT = "text"
    HTML = "html"


def _read(reader: Reader, path: str, given: Any) -> pb.Template:
    fields = reader.fields(path, given, _FIELDS)
    if not fields.get("texts"):
        reader.refuse(f"{path}.texts", "required")
    written = reader.choice(path, fields, "format", _Format.TEXT)
    return pb.Template(
        template_id=reader.text(path, fields, "id", required=True),
        default_locale=_canonical(reader.text(path, fields, "default_locale", required=True)),
        format=pb.TemplateFormat.Value(f"TEMPLATE_FORMAT_{written.name}"),
        texts={
            _canonical(locale): text
            for locale, text in reader.pairs(path, fields, "texts").items()
        },
    )


def _canonical(locale: str) -> str:
    """Returns a tag of BCP 47 as it is stored: "de-AT", "zh-Hant"."""
    language, *others = locale.replace("_", "-").split("-")
    cases = {_REGION_LENGTH: str.upper, _SCRIPT_LENGTH: str.title}
    return "-".join(
        [language.lower(), *(cases.get(len(part), str.lower)(part) for part in others)]
    )


def _write(template: pb.Template) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": template.template_id,
        "default_locale": template.default_locale,
    }
    if template.format == pb.TEMPLATE_FORMAT_HTML:
        told["format"] = _Format.HTML.value
    told["texts"] = dict(sorted(template.texts.items()))
    return told


def _fetch(session: Session) -> Iterable[pb.Template]:
    answer: pb.ListTemplatesResponse = session.collect_at(
        TemplateAdminServiceStub, lambda admin: admin.ListTemplates, pb.ListTemplatesRequest()
    )
    return answer.templates


def _delete(request: policy_admin_pb2.ApplyRoutesRequest, template: pb.Template) -> None:
    request.deleted_template_ids.append(template.template_id)


TEMPLATES: Final = Kind(
    name="templates",
    key=lambda template: template.template_id,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
)
