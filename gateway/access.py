"""Who may call what: the one table. A method that is not in it is refused to everybody."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chassis.errors import PermissionDenied
from gateway.principals import Principal, Role


class Reach(enum.Enum):
    """For which orgs the caller needs the role."""

    # For the whole platform.
    PLATFORM = "platform"
    # For every org that the request names in `org` or `orgs`; if it names none, for the platform.
    NAMED = "named"
    # For any: the method itself sees to it that it touches nobody else's.
    ANYWHERE = "anywhere"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method asks of its caller."""

    role: Role
    reach: Reach


_STAFF_OF_ORG: Final = Rule(Role.ADMIN, Reach.NAMED)
_STAFF: Final = Rule(Role.ADMIN, Reach.ANYWHERE)
_CALLS: Final = Rule(Role.BACKEND, Reach.ANYWHERE)
_READS: Final = Rule(Role.VIEWER, Reach.PLATFORM)
_READS_OF_ORG: Final = Rule(Role.VIEWER, Reach.NAMED)
_READS_FOR_ALL: Final = Rule(Role.VIEWER, Reach.ANYWHERE)
# Whoever could change the limits, routes or prices of an org alone could lift what protects the
# platform from it: these ask for the whole platform.
_CHANGES: Final = Rule(Role.EDITOR, Reach.PLATFORM)
# What an org hears of changes nothing for anybody else.
_CHANGES_OF_ORG: Final = Rule(Role.EDITOR, Reach.NAMED)
_KEYS_OF_ORG: Final = Rule(Role.ADMIN, Reach.NAMED)
_KEYS: Final = Rule(Role.ADMIN, Reach.ANYWHERE)

_BACKEND: Final = "/headgate.api.gateway.v1.GatewayService/"
_ADMIN: Final = "/headgate.api.gateway.v1.AdminService/"
_API: Final = "/headgate.api.gateway.v1.ApiAdminService/"
_ALERTS: Final = "/headgate.api.gateway.v1.AlertAdminService/"
WATCH_EVENTS: Final = "/headgate.api.gateway.v1.EventAdminService/WatchEvents"
_BOOKS: Final = "/headgate.api.gateway.v1.BookAdminService/"
_LIMITS: Final = "/headgate.api.gateway.v1.LimitAdminService/"
_CHANNELS: Final = "/headgate.api.gateway.v1.ChannelAdminService/"
_FORECASTS: Final = "/headgate.api.gateway.v1.ForecastAdminService/"
_TEMPLATES: Final = "/headgate.api.gateway.v1.TemplateAdminService/"
_ORGS: Final = "/headgate.api.gateway.v1.OrgAdminService/"
_POLICIES: Final = "/headgate.api.gateway.v1.PolicyAdminService/"
_APPROVALS: Final = "/headgate.api.gateway.v1.ApprovalAdminService/"
_PEOPLE: Final = "/headgate.api.gateway.v1.StaffService/"
RULES: Final[Mapping[str, Rule]] = {
    _BACKEND + "AdmitCall": _CALLS,
    _BACKEND + "AdmitCalls": _CALLS,
    _BACKEND + "CompleteCall": _CALLS,
    _BACKEND + "CompleteCalls": _CALLS,
    _BACKEND + "RecordFeedback": _CALLS,
    _BACKEND + "ReleaseCall": _CALLS,
    _BACKEND + "WatchStatus": _CALLS,
    _BACKEND + "CreateStatusToken": _CALLS,
    _BACKEND + "ExtendCall": _CALLS,
    _BACKEND + "EstimateCost": _CALLS,
    _BACKEND + "WatchLimits": _CALLS,
    _BACKEND + "RequestApproval": _CALLS,
    _BACKEND + "AwaitApproval": _CALLS,
    _BACKEND + "JoinCall": _CALLS,
    _BACKEND + "AwaitAnswer": _CALLS,
    _BACKEND + "ShareAnswer": _CALLS,
    _ADMIN + "CreateApiKey": _KEYS_OF_ORG,
    _ADMIN + "RotateApiKey": _KEYS,
    _ADMIN + "RevokeApiKey": _KEYS,
    _ADMIN + "ListApiKeys": _KEYS_OF_ORG,
    _ADMIN + "PutRoute": _CHANGES,
    _ADMIN + "DeleteRoute": _CHANGES,
    _ADMIN + "ListRoutes": _READS_FOR_ALL,
    _ADMIN + "GetRoute": _READS_FOR_ALL,
    _ADMIN + "ListRouteVersions": _READS,
    _ADMIN + "RollbackRoute": _CHANGES,
    _ADMIN + "PutLimit": _CHANGES,
    _ADMIN + "DeleteLimit": _CHANGES,
    _ADMIN + "GetLimit": _READS,
    _ADMIN + "ListLimits": _READS,
    _ADMIN + "ListCounters": _READS_OF_ORG,
    _ADMIN + "PutPrice": _CHANGES,
    _ADMIN + "DeletePrice": _CHANGES,
    _ADMIN + "ListPrices": _READS_FOR_ALL,
    _ADMIN + "GetUsage": _READS_OF_ORG,
    _ADMIN + "PrepareKill": _CHANGES,
    _ADMIN + "Kill": _CHANGES,
    _ADMIN + "Resume": _CHANGES,
    _ADMIN + "SetBreaker": _CHANGES,
    _ADMIN + "ListBreakerMoves": _READS,
    _ADMIN + "PutToggle": _CHANGES,
    _ADMIN + "DeleteToggle": _CHANGES,
    _ADMIN + "GetToggle": _READS,
    _ADMIN + "ListToggles": _READS,
    _ADMIN + "ListToggleChanges": _READS,
    _ADMIN + "ListAuditEntries": _READS,
    _API + "GetApiUsage": _READS,
    _BOOKS + "RecordManualUsage": _CHANGES,
    _BOOKS + "AdjustUsage": _CHANGES,
    _BOOKS + "Reprice": _CHANGES,
    _BOOKS + "ImportPrices": _CHANGES,
    _BOOKS + "ReconcileBill": _CHANGES,
    _BOOKS + "ExportUsage": _READS_OF_ORG,
    _BOOKS + "CloseMonth": _CHANGES,
    _BOOKS + "ListStatements": _READS_OF_ORG,
    _BOOKS + "GetStatement": _READS_OF_ORG,
    _LIMITS + "ExplainLimits": _READS_OF_ORG,
    _LIMITS + "SimulateLimits": _READS_OF_ORG,
    _LIMITS + "ListViolations": _READS_OF_ORG,
    _LIMITS + "WriteOffCalls": _CHANGES,
    _LIMITS + "RequestBudgetIncrease": _CHANGES_OF_ORG,
    _LIMITS + "ListBudgetIncreases": _READS_OF_ORG,
    _LIMITS + "ApproveBudgetIncrease": _CHANGES,
    _LIMITS + "RejectBudgetIncrease": _CHANGES,
    _ADMIN + "ListAuditRecords": _READS,
    _ALERTS + "ListAlerts": _READS_OF_ORG,
    _ALERTS + "GetAlert": _READS_OF_ORG,
    _ALERTS + "AcknowledgeAlert": _CHANGES_OF_ORG,
    _ALERTS + "ResolveAlert": _CHANGES_OF_ORG,
    _ALERTS + "CreateAlertMute": _CHANGES_OF_ORG,
    _ALERTS + "DeleteAlertMute": _CHANGES_OF_ORG,
    _ALERTS + "ListAlertMutes": _READS_OF_ORG,
    _ALERTS + "ListEvents": _READS_OF_ORG,
    WATCH_EVENTS: _READS_OF_ORG,
    _TEMPLATES + "PutTemplate": _CHANGES,
    _TEMPLATES + "DeleteTemplate": _CHANGES,
    _TEMPLATES + "GetTemplate": _READS,
    _TEMPLATES + "ListTemplates": _READS,
    _TEMPLATES + "ListTemplateRevisions": _READS,
    _TEMPLATES + "PreviewTemplate": _READS,
    _ORGS + "CreateOrg": _CHANGES,
    # An org's lead; the discount is looked at there.
    _ORGS + "UpdateOrg": _CHANGES_OF_ORG,
    _ORGS + "GetOrg": _READS_OF_ORG,
    # Only those that the caller may read.
    _ORGS + "ListOrgs": _READS_FOR_ALL,
    _ORGS + "SuspendOrg": _CHANGES,
    _ORGS + "ResumeOrg": _CHANGES,
    _POLICIES + "ApplyPrices": _CHANGES,
    _POLICIES + "ApplyLimits": _CHANGES,
    _POLICIES + "ApplyToggles": _CHANGES,
    _POLICIES + "ApplyRoutes": _CHANGES,
    _FORECASTS + "GetForecast": _READS_OF_ORG,
    _FORECASTS + "ForecastCalls": _READS_OF_ORG,
    _CHANNELS + "PutChannel": _CHANGES_OF_ORG,
    _CHANNELS + "DeleteChannel": _CHANGES_OF_ORG,
    _CHANNELS + "ListChannels": _READS_OF_ORG,
    _CHANNELS + "RotateChannelSecret": _CHANGES_OF_ORG,
    _CHANNELS + "TestChannel": _CHANGES_OF_ORG,
    _CHANNELS + "ListDeliveries": _READS_OF_ORG,
    _CHANNELS + "ReplayDeliveries": _CHANGES_OF_ORG,
    _APPROVALS + "GetApproval": _READS_OF_ORG,
    _APPROVALS + "ListApprovals": _READS_OF_ORG,
    _APPROVALS + "ApproveCall": _CHANGES_OF_ORG,
    _APPROVALS + "RejectCall": _CHANGES_OF_ORG,
    _PEOPLE + "InviteStaff": _STAFF,
    _PEOPLE + "ResetStaffPassword": _STAFF,
    _PEOPLE + "RevokeInvitation": _STAFF,
    _PEOPLE + "ListInvitations": _STAFF_OF_ORG,
    _PEOPLE + "ListStaff": _STAFF_OF_ORG,
    _PEOPLE + "PutStaffGrants": _STAFF,
    _PEOPLE + "DisableStaff": _STAFF,
    _PEOPLE + "EnableStaff": _STAFF,
}
# What everybody known may call: staff watch what backends see, and each has a session.
GET_STATUS: Final = _BACKEND + "GetStatus"
OPEN_METHODS: Final = frozenset(
    {
        GET_STATUS,
        _PEOPLE + "Logout",
        _PEOPLE + "GetSession",
        _PEOPLE + "ChangePassword",
    }
)
# What whoever comes may call: these look at a password or a one-time token themselves.
PUBLIC_METHODS: Final = frozenset(
    {
        _PEOPLE + "Bootstrap",
        _PEOPLE + "Login",
        _PEOPLE + "BeginOidcLogin",
        _PEOPLE + "FinishOidcLogin",
        _PEOPLE + "AcceptInvitation",
    }
)


def methods_of(who: Principal) -> frozenset[str]:
    """Returns the methods that the caller may begin; `check_reach` looks at the request then."""
    roles = who.roles
    return OPEN_METHODS.union(
        method
        for method, rule in RULES.items()
        if rule.role in roles and (rule.reach is not Reach.PLATFORM or who.may_act(rule.role))
    )


def refuse(who: Principal, method: str) -> PermissionDenied:
    """Returns what somebody gets who may not call the method at all."""
    roles = ",".join(sorted({grant.role.value for grant in who.grants}))
    return PermissionDenied(f"the role {roles} may not call {method}", role=roles)


def check_reach(who: object, method: str, request: Any) -> None:
    """Raises PermissionDenied unless the caller has the method's role for all that is named."""
    rule = RULES.get(method)
    if rule is None or rule.reach is not Reach.NAMED or not isinstance(who, Principal):
        return
    if who.may_act(rule.role):
        return
    orgs = list(request.orgs) if hasattr(request, "orgs") else [request.org]
    if not any(orgs):
        raise PermissionDenied("name an org that you have this role for", role=rule.role.value)
    # Not repeated in the answer: nobody has checked these texts yet.
    if not all(who.may_act(rule.role, org) for org in orgs):
        raise PermissionDenied("you lack this role for an org that you name", role=rule.role.value)
