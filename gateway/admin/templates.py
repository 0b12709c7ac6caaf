"""Templates of fallback texts, as staff see them. A change binds within a poll of the routes."""

from __future__ import annotations

from chassis.checks import Checks
from gateway.admin import wire_templates as wire
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import in_order, newest_first, take_page
from gateway.domain.locales import find_locale
from gateway.domain.templates import render, variables_of
from gateway.principals import Principal
from gateway.store import Store
from gateway.template_store import (
    delete_template,
    list_template_revisions,
    list_templates,
    put_template,
    read_template,
)
from gateway.wire_words import read_locale, read_variables
from headgate.api.gateway.v1 import template_admin_pb2 as pb

# What Headgate would give to a text; a preview may say otherwise.
SAMPLE = {
    "operation": "chat",
    "reason": "breaker_open",
    "message": "No provider takes calls.",
    "retry_seconds": "60",
}


class StoredTemplates:
    """Writes, deletes, lists and tries templates."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    async def put(self, request: pb.PutTemplateRequest, who: Principal) -> pb.PutTemplateResponse:
        """Creates or replaces a template."""
        template = wire.parse_template(request)
        intent = describe(who, "PutTemplate", f"template/{template.template_id}", request)
        done = await self._audit.change_own(
            intent,
            lambda on: put_template(
                on,
                template,
                base_revision=request.base_revision,
                actor=who.actor,
                reason=intent.reason,
            ),
        )
        return pb.PutTemplateResponse(template=wire.render_revision(done))

    async def delete(
        self, request: pb.DeleteTemplateRequest, who: Principal
    ) -> pb.DeleteTemplateResponse:
        """Deletes a template. Raises NotFound, FailedPrecondition."""
        wire.check_deletion(request)
        intent = describe(who, "DeleteTemplate", f"template/{request.template_id}", request)
        await self._audit.change_own(
            intent,
            lambda on: delete_template(
                on,
                request.template_id,
                base_revision=request.base_revision,
                actor=who.actor,
                reason=intent.reason,
            ),
        )
        return pb.DeleteTemplateResponse()

    async def get(self, request: pb.GetTemplateRequest) -> pb.GetTemplateResponse:
        """Returns one template. Raises NotFound."""
        wire.check_question(request.template_id, request.revision)
        found = await read_template(self._store, request.template_id, request.revision)
        return pb.GetTemplateResponse(template=wire.render_revision(found))

    async def list(self, request: pb.ListTemplatesRequest) -> pb.ListTemplatesResponse:
        """Lists templates in order of their names."""
        place = in_order(request, "templates")
        rows = await list_templates(self._store, after=place.start, count_max=place.size + 1)
        page, token = take_page(rows, place, lambda row: row.template.template_id)
        return pb.ListTemplatesResponse(
            templates=map(wire.render_revision, page), next_page_token=token
        )

    async def list_revisions(
        self, request: pb.ListTemplateRevisionsRequest
    ) -> pb.ListTemplateRevisionsResponse:
        """Lists a template's history, newest first."""
        wire.check_question(request.template_id)
        place = newest_first(request, "template_revisions")
        rows = await list_template_revisions(
            self._store, request.template_id, below=place.start, count_max=place.size + 1
        )
        page, token = take_page(rows, place, lambda row: row.revision)
        return pb.ListTemplateRevisionsResponse(
            revisions=map(wire.render_revision, page), next_page_token=token
        )

    async def preview(self, request: pb.PreviewTemplateRequest) -> pb.PreviewTemplateResponse:
        """Renders a template, or a text that is none yet. Raises NotFound."""
        checks = Checks()
        locale = read_locale(checks, "locale", request.locale)
        variables = read_variables(checks, request.variables)
        is_html = wire.read_format(checks, "format", request.format)
        if not request.template_id:
            wire.check_text(checks, "text", request.text)
        checks.raise_if_any()
        text, used = request.text, ""
        if request.template_id:
            wire.check_question(request.template_id, request.revision)
            found = await read_template(self._store, request.template_id, request.revision)
            template = found.template
            is_html = template.is_html
            used = find_locale(template.texts, locale, default=template.default_locale)
            text = template.texts[used]
        values = {**SAMPLE, **variables}
        return pb.PreviewTemplateResponse(
            text=render(text, values, is_html=is_html) or "",
            locale=used,
            missing_variables=[name for name in variables_of(text) if name not in values],
        )
