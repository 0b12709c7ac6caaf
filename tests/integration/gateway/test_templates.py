"""Templates of fallback texts, as staff write and try them."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.api.gateway.v1 import template_admin_pb2 as pb
from headgate.api.gateway.v1.template_admin_pb2_grpc import TemplateAdminServiceStub
from tests.integration.gateway.system import ADMIN_KEY, Keyed, Refusal, System, refusal

TEXTS = {
    "en": "Sorry {{ name | default('there') }}, {{ reason }}.",
    "de": "Leider nicht, {{ name }}: {{ operation }}.",
}


@pytest.fixture
def staff(system: System) -> Keyed:
    return Keyed(TemplateAdminServiceStub(system.channel()), ADMIN_KEY)


def put(**values: Any) -> pb.PutTemplateRequest:
    base = values.pop("base_revision", 0)
    defaults: dict[str, Any] = {"template_id": "sorry", "default_locale": "en", "texts": TEXTS}
    template = pb.Template(**defaults | values)
    return pb.PutTemplateRequest(template=template, base_revision=base, reason="trial")


async def test_each_change_is_a_revision_that_stays(system: System, staff: Keyed) -> None:
    first = (await staff.PutTemplate(put())).template
    again = (await staff.PutTemplate(put(base_revision=1))).template
    second = (await staff.PutTemplate(put(texts={"en": "No."}, base_revision=1))).template
    await staff.DeleteTemplate(pb.DeleteTemplateRequest(template_id="sorry", reason="over"))

    listed = (await staff.ListTemplates(pb.ListTemplatesRequest())).templates
    gone = await refusal(staff.GetTemplate(pb.GetTemplateRequest(template_id="sorry")))
    old = await staff.GetTemplate(pb.GetTemplateRequest(template_id="sorry", revision=1))
    history = pb.ListTemplateRevisionsRequest(template_id="sorry", page_size=2)
    page = await staff.ListTemplateRevisions(history)
    history.page_token = page.next_page_token
    rest = await staff.ListTemplateRevisions(history)
    third = (await staff.PutTemplate(put(texts={"en": "No."}))).template

    assert (first.revision, again.revision, second.revision, third.revision) == (1, 1, 2, 4)
    assert (first.actor, first.reason, dict(first.texts)) == ("admin", "trial", TEXTS)
    assert list(listed) == []
    assert gone.reason == "TEMPLATE_NOT_FOUND"
    assert dict(old.template.texts) == TEXTS
    assert [(each.revision, each.deleted) for each in page.revisions] == [(3, True), (2, False)]
    assert [each.revision for each in rest.revisions] == [1]
    entries = await system.fetch(
        "gateway", "SELECT action, reason FROM audit_entry WHERE target = 'template/sorry'"
    )
    assert sorted(each["reason"] for each in entries) == ["over", *["trial"] * 4]


async def test_a_change_of_what_has_changed_is_refused(staff: Keyed) -> None:
    await staff.PutTemplate(put())
    await staff.PutTemplate(put(texts={"en": "No."}))

    late = await refusal(staff.PutTemplate(put(texts={"en": "Yes."}, base_revision=1)))

    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "TEMPLATE_CHANGED")
    assert late.metadata == {"template": "sorry", "revision": "2"}


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"template_id": ""}, ("template.template_id",)),
        ({"default_locale": ""}, ("template.default_locale",)),
        ({"default_locale": "fr"}, ("template.texts",)),
        ({"texts": {}}, ("template.texts",)),
        ({"texts": {"en": ""}}, ("template.texts[en]",)),
        ({"texts": {"en": "a" * 4_097}}, ("template.texts[en]",)),
        ({"texts": {"en": "a", "no!": "b"}}, ("template.texts",)),
        ({"texts": {"en": "a", "EN": "b"}}, ("template.texts",)),
        ({"texts": {"en": "{% for a in b %}{% endfor %}"}}, ("template.texts[en]",)),
        ({"texts": {"en": "{{ a.b }}"}}, ("template.texts[en]",)),
        ({"texts": {f"a{each:c}": "a" for each in range(97, 130)}}, ("template.texts",)),
        ({"format": 7}, ("template.format",)),
        ({"base_revision": -1}, ("base_revision",)),
    ],
)
async def test_a_wrong_template_is_refused_by_its_field(
    staff: Keyed, values: dict[str, Any], fields: tuple[str, ...]
) -> None:
    refused: Refusal = await refusal(staff.PutTemplate(put(**values)))

    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", fields)


async def test_there_are_only_so_many(staff: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.template_store.TEMPLATE_COUNT_MAX", 1)
    monkeypatch.setattr("gateway.template_store.REVISION_COUNT_MAX", 2)
    for number in range(4):
        await staff.PutTemplate(put(texts={"en": f"{number}"}))

    more = await refusal(staff.PutTemplate(put(template_id="other")))
    history = pb.ListTemplateRevisionsRequest(template_id="sorry")
    kept = (await staff.ListTemplateRevisions(history)).revisions

    assert more.reason == "TOO_MANY_TEMPLATES"
    assert [each.revision for each in kept] == [4, 3]


async def test_a_preview_shows_what_a_caller_would_get(staff: Keyed) -> None:
    await staff.PutTemplate(put())
    stored = await staff.PreviewTemplate(
        pb.PreviewTemplateRequest(template_id="sorry", locale="de-CH", variables={"name": "Ada"})
    )
    missing = await staff.PreviewTemplate(
        pb.PreviewTemplateRequest(text="<b>{{ name }}{{ reason }}", format=pb.TEMPLATE_FORMAT_HTML)
    )
    unknown = await refusal(
        staff.PreviewTemplate(pb.PreviewTemplateRequest(template_id="sorry", revision=9))
    )
    wrong = await refusal(
        staff.PreviewTemplate(pb.PreviewTemplateRequest(text="{{ a() }}", locale="?"))
    )

    assert (stored.text, stored.locale) == ("Leider nicht, Ada: chat.", "de")
    assert list(stored.missing_variables) == []
    assert (missing.text, list(missing.missing_variables)) == ("<b>breaker_open", ["name"])
    assert unknown.reason == "TEMPLATE_NOT_FOUND"
    assert wrong.fields == ("locale", "text")
