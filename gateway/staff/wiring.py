"""Wiring of the service that lets people in."""

from __future__ import annotations

from typing import Final

from chassis.process import Process
from gateway.access import check_reach
from gateway.admin.audit import Audit
from gateway.api_uses import ApiUses
from gateway.auth import KeyAuthenticator, let_public_in
from gateway.config import GatewaySettings
from gateway.domain.groups import parse_group_roles
from gateway.staff.invitations import Invitations
from gateway.staff.members import Members
from gateway.staff.oidc.logins import OidcLogins, Terms
from gateway.staff.oidc.provider import Client, Provider
from gateway.staff.passwords import Passwords
from gateway.staff.servicer import StaffServicer
from gateway.staff.sessions import Lifetimes, Sessions
from gateway.staff.store import StaffStore
from gateway.store import Store
from headgate.api.gateway.v1 import staff_pb2_grpc

STAFF_SERVICE: Final = "headgate.api.gateway.v1.StaffService"


def add_staff(
    process: Process,
    settings: GatewaySettings,
    *,
    store: Store,
    staff: StaffStore,
    audit: Audit,
    authenticator: KeyAuthenticator,
    lifetimes: Lifetimes,
    api_uses: ApiUses,
) -> None:
    """Adds it to the process."""
    passwords = Passwords()
    sessions = Sessions(
        store=store, staff=staff, audit=audit, passwords=passwords, lifetimes=lifetimes
    )
    provider = _build_provider(settings)
    if provider is not None:
        process.server.on_drain(provider.close)
    oidc = OidcLogins(
        provider=provider,
        terms=Terms(
            roles=parse_group_roles(settings.oidc_roles),
            redirect_uris=frozenset(filter(None, settings.oidc_redirect_uris.split(","))),
        ),
        store=store,
        audit=audit,
        sessions=sessions,
        passwords=passwords,
    )
    invitations = Invitations(staff=staff, audit=audit, passwords=passwords, sessions=sessions)
    process.server.add(
        staff_pb2_grpc.add_StaffServiceServicer_to_server,
        StaffServicer(sessions, invitations, Members(staff, audit), oidc),
        service_name=STAFF_SERVICE,
        authenticate=let_public_in(authenticator),
        authorize=check_reach,
        observe=api_uses.observe,
    )


def _build_provider(settings: GatewaySettings) -> Provider | None:
    if not settings.oidc_issuer:
        return None
    secret = settings.oidc_client_secret
    client = Client(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
    )
    return Provider(client)
