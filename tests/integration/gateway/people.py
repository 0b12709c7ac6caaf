"""People, for the tests of staff."""

from __future__ import annotations

from typing import Any, Final

from gateway.jobs.bootstrap import bootstrap
from headgate.api.gateway.v1 import admin_pb2, staff_pb2, staff_pb2_grpc
from headgate.channel import authorization
from tests.integration.gateway.system import Keyed, System, gateway_settings

STAFF_TOKEN: Final = "tests-only-bootstrap-token-0123456789"
PASSWORD: Final = "correct horse battery staple"
ADA: Final = "ada@example.com"
EVE: Final = "eve@example.com"
ADMIN: Final = admin_pb2.ROLE_ADMIN
EDITOR: Final = admin_pb2.ROLE_EDITOR
VIEWER: Final = admin_pb2.ROLE_VIEWER
pb = staff_pb2


class Nobody:
    """A stub whose methods carry no credential, or one that is given."""

    def __init__(self, system: System, *, at: str = "gateway") -> None:
        self._stub = staff_pb2_grpc.StaffServiceStub(system.channel(at))

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._stub, method)

        def send(request: object, *, shown: str = "") -> Any:
            metadata = authorization(shown) if shown else ()
            return call(request, timeout=20.0, metadata=metadata)

        return send


def people(system: System, token: str, *, at: str = "gateway") -> Keyed:
    """The staff's own service, with a session's token or a key."""
    return Keyed(staff_pb2_grpc.StaffServiceStub(system.channel(at)), token)


def grant(role: int = ADMIN, org: str = "") -> staff_pb2.Grant:
    return staff_pb2.Grant(role=role, org=org)  # type: ignore[arg-type]  # an enum's number


async def first_admin(system: System) -> staff_pb2.BootstrapResponse:
    """Makes Ada the first admin."""
    await bootstrap(gateway_settings(system.url, bootstrap_staff_token=STAFF_TOKEN))
    answer: staff_pb2.BootstrapResponse = await Nobody(system).Bootstrap(
        staff_pb2.BootstrapRequest(token=STAFF_TOKEN, email=ADA, name="Ada", password=PASSWORD)
    )
    return answer


async def invited(
    system: System, token: str, email: str, *grants: staff_pb2.Grant
) -> staff_pb2.AcceptInvitationResponse:
    """Lets an admin invite somebody, who accepts."""
    invitation = await people(system, token).InviteStaff(
        staff_pb2.InviteStaffRequest(email=email, grants=grants)
    )
    answer: staff_pb2.AcceptInvitationResponse = await Nobody(system).AcceptInvitation(
        staff_pb2.AcceptInvitationRequest(
            secret=invitation.secret, name=email.partition("@")[0], password=PASSWORD
        )
    )
    return answer
