"""`headgate books reprice`: what was booked, at the prices that were effective then."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import book_pb2
from headgate.api.gateway.v1 import book_admin_pb2 as pb
from headgate.api.gateway.v1.book_admin_pb2_grpc import BookAdminServiceStub
from headgate.cli.days import End, Start, interval
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import Session, open_session
from headgate.errors import RpcError
from headgate.money import format_usd

# Part of `headgate books`.
app = typer.Typer()

_SUMS: Final = ("call_count", "changed_count", "unpriced_count", "before_nanos", "after_nanos")


@app.command("reprice")
def reprice(
    context: typer.Context,
    *,
    start: Start,
    end: End,
    org: Annotated[str, typer.Option(help="Only this org's.")] = "",
    provider: Annotated[str, typer.Option(help="Only this provider's.")] = "",
    model: Annotated[str, typer.Option(help="Only this model's.")] = "",
    apply: Annotated[
        int, typer.Option(metavar="VERSION", help="Book it; the version of the dry run.")
    ] = 0,
    resume: Annotated[
        str, typer.Option(metavar="TOKEN", help="Go on where an earlier one was stopped.")
    ] = "",
    json: Json = False,
) -> None:
    """Prices calls again, by what was effective when they were admitted. Else a dry run."""
    first, after = interval(start, end)
    request = pb.RepriceRequest(
        start_time=first,
        end_time=after,
        org=org,
        provider=provider,
        model=model,
        apply=apply > 0,
        expected_version=apply,
        page_token=resume,
    )
    answer = _go_through(open_session(context), request)
    if json:
        show_json(answer)
        return
    show_table(
        ["MODEL", ">CALLS", ">CHANGED", ">UNPRICED", ">BEFORE", ">AFTER"],
        [
            [
                f"{each.provider}/{each.model}" if each.provider else "total",
                f"{each.call_count:,}",
                f"{each.changed_count:,}",
                f"{each.unpriced_count:,}",
                format_usd(each.before_nanos),
                format_usd(each.after_nanos),
            ]
            for each in [*answer.models, answer.total]
        ],
        empty="No call was priced by meters then.",
        footer=True,
    )
    if not apply:
        say(f"Nothing is changed yet: repeat it with --apply {answer.version}.")


def _go_through(session: Session, request: pb.RepriceRequest) -> pb.RepriceResponse:
    """Returns the sums over all pages, with progress on the standard error."""
    whole = pb.RepriceResponse()
    models: dict[tuple[str, str], book_pb2.CorrectionSums] = {}
    length = request.end_time.seconds - request.start_time.seconds
    try:
        while True:
            page: pb.RepriceResponse = session.ask_at(
                BookAdminServiceStub, lambda books: books.Reprice, request
            )
            _add(whole.total, page.total)
            for each in page.models:
                key = (each.provider, each.model)
                empty = book_pb2.CorrectionSums(provider=each.provider, model=each.model)
                _add(models.setdefault(key, empty), each)
            done = (page.reach_time.seconds - request.start_time.seconds) * 100 // length
            looked, changed = whole.total.call_count, whole.total.changed_count
            _tell(f"{done:3} %, {looked:,} calls looked at, {changed:,} change")
            whole.version = page.version
            request.page_token = page.next_page_token
            if not request.page_token:
                whole.models.extend(models[key] for key in sorted(models))
                return whole
    except (RpcError, KeyboardInterrupt):
        if request.page_token:
            _tell(f"stopped; go on with --resume {request.page_token}")
        raise
    finally:
        print(file=sys.stderr)


def _add(whole: book_pb2.CorrectionSums, part: book_pb2.CorrectionSums) -> None:
    for name in _SUMS:
        setattr(whole, name, getattr(whole, name) + getattr(part, name))


def _tell(text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr)
