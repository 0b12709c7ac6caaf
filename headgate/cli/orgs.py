"""`headgate orgs`: who the orgs are, whom to ask about them, and whether they may make calls."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from headgate.api.gateway.v1 import admin_pb2
from headgate.api.gateway.v1 import org_admin_pb2 as pb
from headgate.api.gateway.v1.org_admin_pb2_grpc import OrgAdminServiceStub
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

app = typer.Typer(name="orgs", help="Orgs, and whether they may make calls.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Name of the org, as calls and keys have it.")]
_Reason = Annotated[str, typer.Option(help="Why.")]
_Expect = Annotated[
    int | None, typer.Option(min=1, metavar="VERSION", help="Only if the org has this version.")
]
_BASIS_POINTS = 100
_DECIMAL_COUNT = 2


@app.command("list")
def list_orgs(context: typer.Context, json: Json = False) -> None:
    """Lists the orgs that you may read."""
    answer: pb.ListOrgsResponse = open_session(context).collect_at(
        OrgAdminServiceStub, lambda admin: admin.ListOrgs, pb.ListOrgsRequest()
    )
    show_json(answer) if json else _show(answer.profiles)


@app.command("show")
def show_org(context: typer.Context, org: _Name, json: Json = False) -> None:
    """Shows what is known of an org."""
    answer = _ask(context, "GetOrg", pb.GetOrgRequest(org=org))
    show_json(answer) if json else _show([answer.profile])


@app.command("set")
def set_org(
    context: typer.Context,
    *,
    org: _Name,
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Whose midnight counts for its limits.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    contact: Annotated[
        list[str] | None, typer.Option(help="Where to ask; denials say so. Repeat it for more.")
    ] = None,
    cost_centre: Annotated[str | None, typer.Option(help="Whom its bills go to.")] = None,
    discount: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Of the list price, such as 12.5.")
    ] = None,
    expect: _Expect = None,
    create: Annotated[bool, typer.Option("--create", help="Register it.")] = False,
    json: Json = False,
) -> None:
    """Changes what is known of an org, what is left out excepted; with --create registers it."""
    profile = pb.Org(org=org)
    if not create:
        found = _ask(context, "GetOrg", pb.GetOrgRequest(org=org)).profile
        profile.CopyFrom(found)
    given = {
        "display_name": name,
        "time_zone": time_zone,
        "owner": owner,
        "cost_centre": cost_centre,
    }
    for field, value in given.items():
        if value is not None:
            setattr(profile, field, value)
    if contact is not None:
        profile.contacts[:] = contact
    if discount is not None:
        profile.discount_basis_points = parse_percent(discount)
    if create:
        answer = _ask(context, "CreateOrg", pb.CreateOrgRequest(profile=profile))
    else:
        # What was read is what is changed, so nobody's change is lost.
        known = profile.version if expect is None else expect
        request = pb.UpdateOrgRequest(org=org, profile=profile, expected_version=known)
        answer = _ask(context, "UpdateOrg", request)
    show_json(answer) if json else _show([answer.profile])


@app.command("suspend")
def suspend_org(
    context: typer.Context,
    org: _Name,
    reason: _Reason,
    *,
    expect: _Expect = None,
    json: Json = False,
) -> None:
    """Lets an org make no more calls: when it returns, its next one is denied on every gateway."""
    request = pb.SuspendOrgRequest(org_id=org, reason=reason, expected_version=expect)
    answer = _ask(context, "SuspendOrg", request)
    show_json(answer) if json else _show([answer.profile])


@app.command("resume")
def resume_org(
    context: typer.Context,
    org: _Name,
    reason: _Reason,
    *,
    expect: _Expect = None,
    json: Json = False,
) -> None:
    """Lets an org make calls again."""
    request = pb.ResumeOrgRequest(org_id=org, reason=reason, expected_version=expect)
    answer = _ask(context, "ResumeOrg", request)
    show_json(answer) if json else _show([answer.profile])


@app.command("bill")
def show_bill(
    context: typer.Context,
    *,
    org: _Name,
    start: Annotated[str, typer.Option("--from", metavar="DAY", help="First day in UTC.")],
    end: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day in UTC.")],
    json: Json = False,
) -> None:
    """Shows what was booked at list prices, and what is billed after the org's discount."""
    percent = _ask(context, "GetOrg", pb.GetOrgRequest(org=org)).profile.discount_basis_points
    usage = open_session(context).ask(
        lambda admin: admin.GetUsage,
        admin_pb2.GetUsageRequest(org=org, start_day=start, end_day=end),
    )
    listed = usage.total.cost_nanos
    discount = find_discount(listed, percent)
    if json:
        facts = {
            "list_nanos": listed,
            "discount_nanos": discount,
            "billed_nanos": listed - discount,
        }
        told = {"org": org, "discount_basis_points": percent}
        print(json_module.dumps(told | {name: str(value) for name, value in facts.items()}))
        return
    show_table(
        ["ORG", ">LIST", ">DISCOUNT", ">BILLED"],
        [[org, format_usd(listed), format_usd(discount), format_usd(listed - discount)]],
        empty="",
    )


def find_discount(listed_nanos: int, basis_points: int) -> int:
    """Returns the discount on an amount at list prices, to the nano-dollar, rounded down."""
    return listed_nanos * basis_points // _BASIS_POINTS**2


def _ask(context: typer.Context, method: str, request: Any) -> Any:
    return open_session(context).ask_at(
        OrgAdminServiceStub, lambda admin: getattr(admin, method), request
    )


def write_percent(basis_points: int) -> str:
    """Returns a discount as `parse_percent` reads it, such as "12.5"."""
    whole, hundredths = divmod(basis_points, _BASIS_POINTS)
    decimals = f"{hundredths:02}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)


def parse_percent(text: str) -> int:
    """Returns the hundredths of a percent that a text such as "12.5" says."""
    whole, _, fraction = text.removesuffix("%").strip().partition(".")
    digits = whole + fraction.ljust(_DECIMAL_COUNT, "0")
    is_number = digits.isascii() and digits.isdigit() and bool(whole)
    if not is_number or len(fraction) > _DECIMAL_COUNT or int(digits) > _BASIS_POINTS**2:
        raise WrongUse(f"--discount: {text!r} is no percentage from 0 to 100, such as 12.5")
    return int(digits)


def _show(orgs: Iterable[pb.Org]) -> None:
    show_table(
        [
            "ORG",
            ">VERSION",
            "NAME",
            "ZONE",
            "OWNER",
            "CONTACTS",
            "COST CENTRE",
            ">DISCOUNT",
            "STATE",
        ],
        [
            [
                each.org,
                str(each.version),
                each.display_name or wording.NOTHING,
                each.time_zone or "UTC",
                each.owner or wording.NOTHING,
                ", ".join(each.contacts) or wording.NOTHING,
                each.cost_centre or wording.NOTHING,
                f"{each.discount_basis_points / _BASIS_POINTS:.2f} %",
                f"suspended: {each.suspend_reason}" if each.suspended else "active",
            ]
            for each in orgs
        ],
        empty="No org is registered.",
    )
