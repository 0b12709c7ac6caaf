"""`headgate templates`: fallback texts with variables, in several languages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.api.gateway.v1 import template_admin_pb2 as pb
from headgate.api.gateway.v1.template_admin_pb2_grpc import TemplateAdminServiceStub
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, printable, say, show_json, show_table
from headgate.cli.session import Session, open_session
from headgate.errors import NotFound

app = typer.Typer(
    name="templates", help="Fallback texts, in several languages.", no_args_is_help=True
)

_Name = Annotated[str, typer.Argument(help="The template, as routes name it.")]
_Reason = Annotated[str, typer.Option(help="Why, for staff; it stays in the history.")]
_Revision = Annotated[int, typer.Option(min=0, help="As it was then. 0: as it is.")]
_File = Annotated[Path | None, typer.Option(help="File that holds the text.")]
_Html = Annotated[bool, typer.Option("--html", help="It is HTML: values are escaped in it.")]


@app.command("list")
def list_templates(context: typer.Context, json: Json = False) -> None:
    """Lists all templates in order of their names."""
    answer = open_session(context).collect_at(
        TemplateAdminServiceStub, lambda admin: admin.ListTemplates, pb.ListTemplatesRequest()
    )
    show_json(answer) if json else _show_states(answer.templates, empty="There are no templates.")


@app.command("show")
def show(context: typer.Context, name: _Name, revision: _Revision = 0, json: Json = False) -> None:
    """Prints a template's texts."""
    request = pb.GetTemplateRequest(template_id=name, revision=revision)
    answer = _ask(open_session(context), lambda admin: admin.GetTemplate, request)
    if json:
        show_json(answer)
        return
    _show_states([answer.template], empty="")
    for locale, text in sorted(answer.template.texts.items()):
        say("")
        say(f"{locale}:")
        for line in text.splitlines():
            say(f"    {line}")


@app.command("set")
def set_text(
    context: typer.Context,
    *,
    name: _Name,
    locale: Annotated[str, typer.Option(help="Language of the text, such as de-AT.")],
    text: Annotated[str, typer.Option(help="The text; {{ name }} is a variable.")] = "",
    file: _File = None,
    html: _Html = False,
    default: Annotated[
        bool, typer.Option("--default", help="Taken where no other language fits.")
    ] = False,
    reason: _Reason = "",
    json: Json = False,
) -> None:
    """Writes one text of a template; its others stay. The first text makes the template."""
    session = open_session(context)
    template = _find(session, name) or pb.Template(template_id=name, default_locale=locale)
    template.texts[locale] = _read(text, file)
    if default:
        template.default_locale = locale
    if html or not template.revision:
        template.format = pb.TEMPLATE_FORMAT_HTML if html else pb.TEMPLATE_FORMAT_TEXT
    _put(session, template, reason, json=json)


@app.command("preview")
def preview(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="The template. Left out: --text or --file.")] = "",
    locale: Annotated[str, typer.Option(help="The reader's language.")] = "",
    variable: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="Repeat it for more.")
    ] = None,
    revision: _Revision = 0,
    text: Annotated[str, typer.Option(help="A text that is not stored.")] = "",
    file: _File = None,
    html: _Html = False,
    json: Json = False,
) -> None:
    """Prints what a denied call would get."""
    request = pb.PreviewTemplateRequest(
        template_id=name,
        revision=revision,
        text="" if name else _read(text, file),
        format=pb.TEMPLATE_FORMAT_HTML if html else pb.TEMPLATE_FORMAT_TEXT,
        locale=locale,
        variables=_read_variables(variable or []),
    )
    answer = _ask(open_session(context), lambda admin: admin.PreviewTemplate, request)
    if json:
        show_json(answer)
        return
    print("\n".join(map(printable, answer.text.split("\n"))))
    if answer.missing_variables:
        typer.echo(f"without a value: {', '.join(answer.missing_variables)}", err=True)


@app.command("history")
def history(context: typer.Context, name: _Name, json: Json = False) -> None:
    """Lists a template's revisions, newest first."""
    answer = open_session(context).collect_at(
        TemplateAdminServiceStub,
        lambda admin: admin.ListTemplateRevisions,
        pb.ListTemplateRevisionsRequest(template_id=name),
    )
    show_json(answer) if json else _show_states(answer.revisions, empty="No such template.")


@app.command("restore")
def restore(
    context: typer.Context,
    name: _Name,
    revision: Annotated[int, typer.Option(min=1, help="The revision to go back to.")],
    reason: _Reason = "",
    json: Json = False,
) -> None:
    """Makes a template what it was; that is a new revision."""
    session = open_session(context)
    request = pb.GetTemplateRequest(template_id=name, revision=revision)
    old = _ask(session, lambda admin: admin.GetTemplate, request).template
    old.revision = 0
    _put(session, old, reason, json=json)


@app.command("delete")
def delete(
    context: typer.Context,
    name: _Name,
    locale: Annotated[str, typer.Option(help="Only the text in this language.")] = "",
    reason: _Reason = "",
) -> None:
    """Deletes a template, or one of its texts. Its history stays."""
    session = open_session(context)
    if not locale:
        request = pb.DeleteTemplateRequest(template_id=name, reason=reason)
        _ask(session, lambda admin: admin.DeleteTemplate, request, repeatable=False)
        say(f"The template {name} is deleted.")
        return
    template = _find(session, name)
    if template is None or locale not in template.texts:
        raise WrongUse(f"{name} has no text in {locale}")
    del template.texts[locale]
    _put(session, template, reason, json=False)


def _find(session: Session, name: str) -> pb.Template | None:
    try:
        request = pb.GetTemplateRequest(template_id=name)
        found: pb.Template = _ask(session, lambda admin: admin.GetTemplate, request).template
    except NotFound:
        return None
    return found


def _put(session: Session, template: pb.Template, reason: str, *, json: bool) -> None:
    request = pb.PutTemplateRequest(
        template=template, base_revision=template.revision, reason=reason
    )
    answer = _ask(session, lambda admin: admin.PutTemplate, request)
    show_json(answer) if json else _show_states([answer.template], empty="")


def _ask(
    session: Session, pick: Callable[[Any], Any], request: object, *, repeatable: bool = True
) -> Any:
    return session.ask_at(TemplateAdminServiceStub, pick, request, repeatable=repeatable)


def _read(text: str, file: Path | None) -> str:
    if bool(text) == (file is not None):
        raise WrongUse("give the text by --text, or by --file")
    if file is None:
        return text
    try:
        return file.read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"cannot read {file}: {error}") from None


def _read_variables(pairs: Iterable[str]) -> Mapping[str, str]:
    split = [each.partition("=") for each in pairs]
    for name, equals, _ in split:
        if not name or not equals:
            raise WrongUse(f"{name!r} is not NAME=VALUE, such as customer=Ada")
    return {name: value for name, _, value in split}


def _show_states(states: Iterable[pb.Template], *, empty: str) -> None:
    show_table(
        ["TEMPLATE", ">REVISION", "LANGUAGES", "FORMAT", "CHANGED", "WHO", "WHY"],
        [
            [
                each.template_id,
                f"{each.revision:,}" + (" (deleted)" if each.deleted else ""),
                ", ".join(
                    f"{locale} (default)" if locale == each.default_locale else locale
                    for locale in sorted(each.texts)
                ),
                wording.word(pb.TemplateFormat.DESCRIPTOR, each.format),
                wording.instant(each, "change_time"),
                each.actor,
                each.reason,
            ]
            for each in states
        ],
        empty=empty,
    )
