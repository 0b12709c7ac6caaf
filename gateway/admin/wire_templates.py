"""Templates between the contract and the gateway's own values."""

from __future__ import annotations

from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.admin.wire_keys import render_time
from gateway.domain.locales import parse_locale
from gateway.domain.templates import TEXT_LENGTH_MAX, BadTemplateError, Template, check
from gateway.template_store import Revision
from gateway.wire_words import LAYOUT, read_locale
from headgate.api.gateway.v1 import template_admin_pb2 as pb

ID_LENGTH_MAX: Final = 64
LOCALE_COUNT_MAX: Final = 32
REASON_LENGTH_MAX: Final = 1_024
REVISION_MAX: Final = 2**31 - 1
_FORMATS: Final = frozenset(pb.TemplateFormat.values())


def parse_template(request: pb.PutTemplateRequest) -> Template:
    """Checks a template to write. Raises InvalidArgument."""
    checks = Checks()
    template = read_template(checks, "template.", request.template)
    _check_revision(checks, "base_revision", request.base_revision)
    check_reason(checks, request.reason)
    checks.raise_if_any()
    return template


def read_template(checks: Checks, path: str, template: pb.Template) -> Template:
    """Returns a template to write; what is wrong with it is on the checks."""
    check_id(checks, f"{path}template_id", template.template_id)
    default = read_locale(checks, f"{path}default_locale", template.default_locale)
    if not template.default_locale:
        checks.violate(f"{path}default_locale", "required: name a locale of the texts")
    texts = _read_texts(checks, f"{path}texts", template)
    if texts and default and default not in texts:
        checks.violate(f"{path}texts", f"has no text for the default locale {default}")
    is_html = read_format(checks, f"{path}format", template.format)
    return Template(
        template_id=template.template_id, default_locale=default, is_html=is_html, texts=texts
    )


def check_deletion(request: pb.DeleteTemplateRequest) -> None:
    """Raises InvalidArgument."""
    checks = Checks()
    check_id(checks, "template_id", request.template_id)
    _check_revision(checks, "base_revision", request.base_revision)
    check_reason(checks, request.reason)
    checks.raise_if_any()


def check_question(template_id: str, revision: int = 0) -> None:
    """Raises InvalidArgument."""
    checks = Checks()
    check_id(checks, "template_id", template_id)
    _check_revision(checks, "revision", revision)
    checks.raise_if_any()


def check_id(checks: Checks, field: str, template_id: str) -> None:
    """Notes what is wrong with a template's name."""
    checks.text(field, template_id, max_length=ID_LENGTH_MAX, pattern=wire.NAME)


def read_format(checks: Checks, field: str, value: int) -> bool:
    """Returns whether values are escaped for HTML."""
    if value not in _FORMATS:
        checks.violate(field, f"{value} is no value that this server knows")
    return value == pb.TEMPLATE_FORMAT_HTML


def check_text(checks: Checks, field: str, text: str) -> None:
    """Notes what is wrong with a template's text."""
    if len(text) > TEXT_LENGTH_MAX:
        checks.violate(field, f"has {len(text)} characters; at most {TEXT_LENGTH_MAX} are allowed")
        return
    # Spaces at its ends are its author's business.
    checks.text(field, text.translate(LAYOUT).strip(), max_length=TEXT_LENGTH_MAX)
    try:
        check(text)
    except BadTemplateError as error:
        checks.violate(field, str(error))


def render_revision(revision: Revision) -> pb.Template:
    """Renders one state of a template."""
    template = revision.template
    return pb.Template(
        template_id=template.template_id,
        default_locale=template.default_locale,
        format=pb.TEMPLATE_FORMAT_HTML if template.is_html else pb.TEMPLATE_FORMAT_TEXT,
        texts=template.texts,
        revision=revision.revision,
        deleted=revision.deleted,
        actor=revision.actor,
        reason=revision.reason,
        change_time=render_time(revision.change_time),
    )


def _read_texts(checks: Checks, path: str, template: pb.Template) -> dict[str, str]:
    count = len(template.texts)
    if not 1 <= count <= LOCALE_COUNT_MAX:
        checks.violate(path, f"has {count}; give 1 to {LOCALE_COUNT_MAX}")
        return {}
    texts: dict[str, str] = {}
    for tag, text in template.texts.items():
        locale = parse_locale(tag)
        if locale is None:
            checks.violate(path, "has a locale that is no tag of BCP 47, as de-AT is")
            continue
        if locale in texts:
            checks.violate(path, f"has the locale {locale} twice")
        texts[locale] = text
        check_text(checks, f"{path}[{locale}]", text)
    return texts


def _check_revision(checks: Checks, field: str, value: int) -> None:
    checks.integer(field, value, minimum=0, maximum=REVISION_MAX)


def check_reason(checks: Checks, reason: str) -> None:
    """Notes what is wrong with why somebody changes something."""
    checks.text("reason", reason, min_length=0, max_length=REASON_LENGTH_MAX)
