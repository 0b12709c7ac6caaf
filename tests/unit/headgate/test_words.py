"""Words for the fallback text on their way from whoever says them to the gateway."""

from __future__ import annotations

from typing import Any

import headgate
from headgate.options import CallOptions
from headgate.plan import Plan, make_plan
from headgate.sayings import KNOWN_COUNT_MAX, Sayings
from headgate.testing import API_KEY
from headgate.transports.terms import Terms

CLIENT = headgate.Client("127.0.0.1:1", api_key=API_KEY)


def make_plan_of(**options: Any) -> Plan:
    return make_plan("chat", new_id="", default_timeout_seconds=1.0, **options)


def test_a_session_has_words_and_a_call_adds_its_own() -> None:
    session = CLIENT.for_user("ada", locale="de-AT", variables={"name": "Ada", "plan": "free"})
    request = session.plan("chat", {"variables": {"plan": "pro"}}).to_request()
    other = CLIENT.plan("chat", {}).to_request()

    assert (request.locale, dict(request.variables)) == ("de-AT", {"name": "Ada", "plan": "pro"})
    assert (other.locale, dict(other.variables)) == ("", {})


def test_governed_requests_have_them_too() -> None:
    said: CallOptions = {"locale": "de", "variables": {"name": "Ada"}}
    terms = Terms(operation="chat", options=said)
    with headgate.governing(locale="fr", variables={"plan": "pro"}):
        current = terms.current().options

    assert current == {"locale": "fr", "variables": {"name": "Ada", "plan": "pro"}}


def test_texts_are_remembered_by_language_and_without_anybodys_variables() -> None:
    sayings = Sayings()
    german, named = make_plan_of(locale="de"), make_plan_of(locale="de", variables={"name": "Ada"})
    sayings.note(named, denial("Leider, Ada.", plain="Leider."))

    assert sayings.text(german) == "Leider."
    assert sayings.text(make_plan_of(fallback_text="Sorry.")) == "Sorry."
    sayings.note(named, denial("Leider, Ada.", plain=""))
    assert sayings.text(german) == "Leider."


def test_only_so_many_texts_are_remembered() -> None:
    sayings = Sayings()
    for number in range(KNOWN_COUNT_MAX + 1):
        sayings.note(make_plan_of(locale=f"x-{number}"), denial(f"{number}", plain=""))

    assert (
        sayings.text(make_plan_of(locale=f"x-{KNOWN_COUNT_MAX - 1}")) == f"{KNOWN_COUNT_MAX - 1}"
    )
    assert sayings.text(make_plan_of(locale=f"x-{KNOWN_COUNT_MAX}")) == ""


def denial(text: str, *, plain: str) -> headgate.Denial:
    return headgate.Denial(
        reason=headgate.DenialReason.FENCED,
        violations=(),
        retry_delay=None,
        retry_kind=headgate.RetryKind.UNKNOWN,
        message="stopped",
        fallback_text=text,
        plain_fallback_text=plain,
    )
