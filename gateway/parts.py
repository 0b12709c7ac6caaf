"""The gateway's parts, put together: what `serve` starts, and tests may start in one process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from chassis import notifications
from chassis.notifications import Connect
from chassis.process import Process
from gateway.access import check_reach
from gateway.admin.audit import Audit
from gateway.admin.budgets import Budgets
from gateway.admin.events_servicer import EventAdminServicer
from gateway.admin.limit_questions import LimitQuestions
from gateway.admin.limits_servicer import LimitAdminServicer
from gateway.admin.open_entries import OpenEntries
from gateway.admin.orgs import StoredOrgs
from gateway.admin.policies import StoredSets
from gateway.admin.routes import StoredRoutes
from gateway.admin.servicer import AdminServicer
from gateway.admin.services import (
    build_api_service,
    build_org_service,
    build_policy_service,
    build_services,
)
from gateway.api_uses import ApiUses
from gateway.approvals.gate import Gate
from gateway.approvals.requests import Requests
from gateway.approvals.telling import Telling
from gateway.approvals.waits import Waits
from gateway.auth import KeyAuthenticator
from gateway.calls import Calls
from gateway.completions import Completions
from gateway.config import GatewaySettings
from gateway.confirmations import Confirmations
from gateway.event_watch import EventWatch
from gateway.extensions import Extensions
from gateway.feedback import Feedback
from gateway.flights.flights import Flights
from gateway.flights.waits import CHANNEL as FLIGHTS_CHANNEL
from gateway.health_watch import HealthCopy, HealthWatch
from gateway.key_store import KeyStore
from gateway.observations import Observations
from gateway.outlooks import Outlooks
from gateway.peers import Accounting, Admission, Health
from gateway.permits import Signer
from gateway.prices import Prices
from gateway.probes import Probes
from gateway.route_store import RouteStore
from gateway.routes import Routes
from gateway.servicer import GatewayServicer
from gateway.staff.sessions import Lifetimes
from gateway.staff.store import StaffStore
from gateway.staff.wiring import add_staff
from gateway.status_tokens import StatusTokens
from gateway.status_watch import StatusWatch
from gateway.store import Store
from gateway.uses import Uses
from gateway.web.face import add_face
from headgate.api.gateway.v1 import (
    admin_pb2_grpc,
    gateway_pb2_grpc,
)

GATEWAY_SERVICE: Final = "headgate.api.gateway.v1.GatewayService"
ADMIN_SERVICE: Final = "headgate.api.gateway.v1.AdminService"
# Where the gateways' database tells of changes.
CHANNEL: Final = "headgate_gateway"
# A start does not wait longer for health: readiness does.
HEALTH_WAIT_SECONDS: Final = 1.0


class Parts:
    """What the servicers share."""

    def __init__(
        self,
        *,
        store: Store,
        admission: Admission,
        accounting: Accounting,
        health: Health,
        listen: Connect | None,
        lifetimes: Lifetimes,
    ) -> None:
        """`listen` opens a connection for notifications; None: the polls alone find changes."""
        self.store = store
        self.listen = listen
        self.admission = admission
        self.accounting = accounting
        self.health = health
        self.prices = Prices(accounting.pull_price_book)
        self.stored_routes = RouteStore(store)
        self.routes = Routes(self.stored_routes, prepare=self.prices.try_refresh)
        self.copy = HealthCopy()
        self.keys = KeyStore(store)
        self.staff = StaffStore(store, idle_seconds=lifetimes.idle_seconds)
        self.authenticator = KeyAuthenticator(self.keys, self.staff)
        self.uses = Uses(self.authenticator, self.keys, self.staff)
        self.lifetimes = lifetimes
        self.api_uses = ApiUses(store)
        self.audit = Audit(store)
        self.statuses = StatusWatch(self.copy)
        self.events = EventWatch(accounting.list_event_feed)
        self.gate = Gate(store, self.copy)
        self.waits = Waits(store)
        self.telling = Telling(store, accounting)
        self.flights = Flights(store, self.routes, self.prices, accounting)

    def wake(self) -> None:
        """Makes the polls of what the gateways' database holds due at once."""
        self.authenticator.woken.set()
        self.routes.woken.set()
        self.waits.woken.set()
        self.telling.woken.set()

    async def load(self) -> None:
        """Fills the copies. Peers may come later; until then what needs them is UNAVAILABLE."""
        await self.authenticator.refresh()
        await self.routes.refresh()

    async def hear_health(self) -> None:
        """Waits a moment for health's state; `add_to` has begun to listen."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.copy.known.wait(), HEALTH_WAIT_SECONDS)

    def add_to(self, process: Process, settings: GatewaySettings) -> None:
        """Adds the servicers, the loops that keep the copies, the checks and the clean-up."""
        observations = Observations(self.health.observe, process.telemetry.meter)
        self._spawn(process, observations)
        self._add_servicers(process, settings, observations)
        for name, check in (
            ("routes", self.routes.check_ready),
            ("prices", self.prices.check_ready),
            ("health", self.copy.check_ready),
        ):
            process.server.add_readiness(name, check)
        if settings.http_listen_address:
            add_face(
                process,
                settings,
                store=self.store,
                authenticator=self.authenticator,
                copy=self.copy,
                statuses=self.statuses,
            )
        closers = (self.admission.close, self.accounting.close, self.health.close)
        ours = (self.routes.leave, self.audit.close, self.uses.flush, self.api_uses.flush)
        for close in (*ours, observations.drain, self.flights.drain, *closers):
            process.server.on_drain(close)

    def _spawn(self, process: Process, observations: Observations) -> None:
        process.spawn("keys", self.authenticator.keep_fresh())
        process.spawn("uses", self.uses.run())
        process.spawn("api_uses", self.api_uses.run())
        peers = (self.admission, self.accounting, self.health)
        open_entries = OpenEntries(self.store, [peer.changes for peer in peers])
        process.spawn("open_entries", open_entries.run())
        process.spawn("routes", self.routes.keep_fresh())
        if self.listen is not None:
            wakes = {CHANNEL: self.wake, FLIGHTS_CHANNEL: self.flights.wake}
            process.spawn("changes", notifications.follow(self.listen, wakes))
        process.spawn("approvals", self.waits.run())
        process.spawn("approval_events", self.telling.run())
        process.spawn("flights", self.flights.run())
        process.spawn("prices", self.prices.keep_fresh())
        process.spawn("health", HealthWatch(self.health.watch, self.copy).run())
        process.spawn("observations", observations.run())
        process.spawn("events", self.events.run())

    def _add_servicers(
        self, process: Process, settings: GatewaySettings, observations: Observations
    ) -> None:
        signer = Signer(settings.signing_keys())
        calls = Calls(
            routes=self.routes,
            prices=self.prices,
            copy=self.copy,
            admission=self.admission,
            probes=Probes(self.health, observations),
            gate=self.gate,
            signer=signer,
            meter=process.telemetry.meter,
        )
        completions = Completions(
            admission=self.admission,
            accounting=self.accounting,
            observations=observations,
            meter=process.telemetry.meter,
        )
        process.server.add(
            gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
            GatewayServicer(
                calls=calls,
                completions=completions,
                extensions=self._extensions(),
                outlooks=self._outlooks(),
                approvals=Requests(
                    store=self.store, gate=self.gate, outlooks=self._outlooks(), waits=self.waits
                ),
                flights=self.flights,
                feedback=Feedback(self.accounting),
                copy=self.copy,
                signer=signer,
                statuses=self.statuses,
                status_tokens=StatusTokens(settings.signing_keys()),
            ),
            service_name=GATEWAY_SERVICE,
            authenticate=self.authenticator,
        )
        self._add_admin(process, settings)

    def _extensions(self) -> Extensions:
        return Extensions(
            admission=self.admission, health=self.health, copy=self.copy, routes=self.routes
        )

    def _limits(self) -> LimitAdminServicer:
        questions = LimitQuestions(
            admission=self.admission, outlooks=self._outlooks(), audit=self.audit
        )
        budgets = Budgets(store=self.store, admission=self.admission, audit=self.audit)
        return LimitAdminServicer(questions, budgets)

    def _outlooks(self) -> Outlooks:
        return Outlooks(
            routes=self.routes, prices=self.prices, copy=self.copy, admission=self.admission
        )

    def _add_admin(self, process: Process, settings: GatewaySettings) -> None:
        process.server.add(
            admin_pb2_grpc.add_AdminServiceServicer_to_server,
            AdminServicer(
                audit=self.audit,
                store=self.store,
                keys=self.keys,
                admission=self.admission,
                accounting=self.accounting,
                health=self.health,
                routes=self.routes,
                stored_routes=StoredRoutes(
                    store=self.stored_routes,
                    routes=self.routes,
                    prices=self.prices,
                    audit=self.audit,
                ),
                confirmations=Confirmations(settings.signing_keys()),
            ),
            service_name=ADMIN_SERVICE,
            authenticate=self.authenticator,
            authorize=check_reach,
            observe=self.api_uses.observe,
        )
        self._add_admin_beside(process)
        add_staff(
            process,
            settings,
            store=self.store,
            staff=self.staff,
            audit=self.audit,
            authenticator=self.authenticator,
            lifetimes=self.lifetimes,
            api_uses=self.api_uses,
        )

    def _add_admin_beside(self, process: Process) -> None:
        """Adds the admin's services that have a contract of their own."""
        services = build_services(
            store=self.store,
            audit=self.audit,
            accounting=self.accounting,
            limits=self._limits(),
            events=EventAdminServicer(self.events, self.authenticator),
        )
        policies = build_policy_service(
            audit=self.audit,
            admission=self.admission,
            accounting=self.accounting,
            health=self.health,
            sets=StoredSets(
                store=self.store, routes=self.routes, prices=self.prices, audit=self.audit
            ),
        )
        orgs = build_org_service(
            StoredOrgs(store=self.store, routes=self.routes, audit=self.audit)
        )
        for add, servicer, name in [*services, policies, orgs, build_api_service(self.api_uses)]:
            process.server.add(
                add,
                servicer,
                service_name=name,
                authenticate=self.authenticator,
                authorize=check_reach,
                observe=self.api_uses.observe,
            )
