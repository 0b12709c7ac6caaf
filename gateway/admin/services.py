"""The staff's services that have a contract of their own, as the server takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.admin.alerts_servicer import AlertAdminServicer
from gateway.admin.api_servicer import ApiAdminServicer
from gateway.admin.approvals import StoredApprovals
from gateway.admin.approvals_servicer import ApprovalAdminServicer
from gateway.admin.audit import Audit
from gateway.admin.books_servicer import BookAdminServicer
from gateway.admin.channels_servicer import ChannelAdminServicer
from gateway.admin.events_servicer import EventAdminServicer
from gateway.admin.forecasts_servicer import ForecastAdminServicer
from gateway.admin.limits_servicer import LimitAdminServicer
from gateway.admin.orgs import StoredOrgs
from gateway.admin.orgs_servicer import OrgAdminServicer
from gateway.admin.policies import StoredSets
from gateway.admin.policies_servicer import PolicyAdminServicer
from gateway.admin.templates import StoredTemplates
from gateway.admin.templates_servicer import TemplateAdminServicer
from gateway.api_uses import ApiUses
from gateway.peers import Accounting, Admission, Health
from gateway.store import Store
from headgate.api.gateway.v1 import (
    alert_admin_pb2_grpc,
    api_admin_pb2_grpc,
    approval_admin_pb2_grpc,
    book_admin_pb2_grpc,
    channel_admin_pb2_grpc,
    event_admin_pb2_grpc,
    forecast_admin_pb2_grpc,
    limit_admin_pb2_grpc,
    org_admin_pb2_grpc,
    policy_admin_pb2_grpc,
    template_admin_pb2_grpc,
)

_PACKAGE: Final = "headgate.api.gateway.v1"

# What registers a servicer, the servicer, and its service's name.
Service = tuple[Callable[..., None], Any, str]


def build_services(
    *,
    store: Store,
    audit: Audit,
    accounting: Accounting,
    limits: LimitAdminServicer,
    events: EventAdminServicer,
) -> list[Service]:
    """Returns the services."""
    add_limits = limit_admin_pb2_grpc.add_LimitAdminServiceServicer_to_server
    return [
        (add_limits, limits, f"{_PACKAGE}.LimitAdminService"),
        (
            alert_admin_pb2_grpc.add_AlertAdminServiceServicer_to_server,
            AlertAdminServicer(accounting, audit),
            f"{_PACKAGE}.AlertAdminService",
        ),
        (
            event_admin_pb2_grpc.add_EventAdminServiceServicer_to_server,
            events,
            f"{_PACKAGE}.EventAdminService",
        ),
        (
            book_admin_pb2_grpc.add_BookAdminServiceServicer_to_server,
            BookAdminServicer(accounting, audit),
            f"{_PACKAGE}.BookAdminService",
        ),
        (
            channel_admin_pb2_grpc.add_ChannelAdminServiceServicer_to_server,
            ChannelAdminServicer(accounting, audit),
            f"{_PACKAGE}.ChannelAdminService",
        ),
        (
            forecast_admin_pb2_grpc.add_ForecastAdminServiceServicer_to_server,
            ForecastAdminServicer(accounting, audit),
            f"{_PACKAGE}.ForecastAdminService",
        ),
        (
            template_admin_pb2_grpc.add_TemplateAdminServiceServicer_to_server,
            TemplateAdminServicer(StoredTemplates(store, audit)),
            f"{_PACKAGE}.TemplateAdminService",
        ),
        (
            approval_admin_pb2_grpc.add_ApprovalAdminServiceServicer_to_server,
            ApprovalAdminServicer(StoredApprovals(store, audit)),
            f"{_PACKAGE}.ApprovalAdminService",
        ),
    ]


def build_api_service(api_uses: ApiUses) -> Service:
    """Returns the service that tells how the API itself is used."""
    return (
        api_admin_pb2_grpc.add_ApiAdminServiceServicer_to_server,
        ApiAdminServicer(api_uses),
        f"{_PACKAGE}.ApiAdminService",
    )


def build_org_service(orgs: StoredOrgs) -> Service:
    """Returns the service about orgs."""
    add = org_admin_pb2_grpc.add_OrgAdminServiceServicer_to_server
    return (add, OrgAdminServicer(orgs), f"{_PACKAGE}.OrgAdminService")


def build_policy_service(
    *,
    audit: Audit,
    admission: Admission,
    accounting: Accounting,
    health: Health,
    sets: StoredSets,
) -> Service:
    """Returns the service about sets of policies, which every service keeps some of."""
    servicer = PolicyAdminServicer(
        audit=audit, admission=admission, accounting=accounting, health=health, sets=sets
    )
    add = policy_admin_pb2_grpc.add_PolicyAdminServiceServicer_to_server
    return (add, servicer, f"{_PACKAGE}.PolicyAdminService")
