"""Orgs in files. They are never deleted, and whether one is suspended is in no file.

orgs:
  - id: acme
    name: Acme Ltd
    time_zone: Europe/Amsterdam
    owner: Ada
    contacts: [ada@acme.example]
    cost_centre: CC-7
    discount: 12.5              # percent of the list price
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headgate.api.gateway.v1 import org_admin_pb2 as pb
from headgate.api.gateway.v1.org_admin_pb2_grpc import OrgAdminServiceStub
from headgate.cli.orgs import parse_percent, write_percent
from headgate.cli.policies.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

# What a file calls each field of the contract.
_TEXTS: Final = {
    "id": "org",
    "name": "display_name",
    "time_zone": "time_zone",
    "owner": "owner",
    "cost_centre": "cost_centre",
}
_FIELDS: Final = (*_TEXTS, "contacts", "discount")


def _read(reader: Reader, path: str, given: Any) -> pb.Org:
    fields = reader.fields(path, given, _FIELDS)
    org = pb.Org(contacts=reader.texts(path, fields, "contacts"))
    for name, field in _TEXTS.items():
        setattr(org, field, reader.text(path, fields, name, required=name == "id"))
    if "discount" in fields:
        with reader.option(f"{path}.discount"):
            org.discount_basis_points = parse_percent(reader.text(path, fields, "discount"))
    return org


def _write(org: pb.Org) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: getattr(org, field) for name, field in _TEXTS.items() if getattr(org, field)
    }
    if org.contacts:
        told["contacts"] = list(org.contacts)
    if org.discount_basis_points:
        told["discount"] = write_percent(org.discount_basis_points)
    return told


def _fetch(session: Session) -> Iterable[pb.Org]:
    answer: pb.ListOrgsResponse = session.collect_at(
        OrgAdminServiceStub, lambda admin: admin.ListOrgs, pb.ListOrgsRequest()
    )
    return answer.profiles


def _delete(request: policy_admin_pb2.ApplyRoutesRequest, org: pb.Org) -> None:
    raise AssertionError("orgs are never deleted")


ORGS: Final = Kind(
    name="orgs",
    key=lambda org: org.org,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
    may_go=lambda _org: False,
)
