"""Wiring of the HTTP face: what a gateway serves beside its RPCs, if it has an address for it."""

from __future__ import annotations

from chassis.process import Process
from chassis.tls import Certificates, server_context
from gateway.access import GET_STATUS
from gateway.auth import KeyAuthenticator, let_public_in
from gateway.config import GatewaySettings
from gateway.health_watch import HealthCopy
from gateway.principals import Principal
from gateway.status_tokens import StatusTokens
from gateway.status_watch import StatusWatch
from gateway.store import Store
from gateway.web.app import SERVICES, build_app
from gateway.web.loopback import Loopback
from gateway.web.ofrep import Flags
from gateway.web.rest.answer_store import AnswerStore
from gateway.web.rest.repeats import Repeats
from gateway.web.rest.transcoder import Transcoder
from gateway.web.server import WebServer
from gateway.web.status import StatusPages


def add_face(
    process: Process,
    settings: GatewaySettings,
    *,
    store: Store,
    authenticator: KeyAuthenticator,
    copy: HealthCopy,
    statuses: StatusWatch,
) -> None:
    """Adds it to the process; before the server of its RPCs starts."""

    async def authenticate(shown: str) -> Principal:
        return await authenticator({"authorization": shown}, GET_STATUS)

    loopback = Loopback(process.server)
    repeats = Repeats(AnswerStore(store))
    app = build_app(
        Flags(copy, authenticate),
        StatusPages(statuses, StatusTokens(settings.signing_keys())),
        Transcoder(
            loopback.channel, SERVICES, repeats=repeats, authenticate=let_public_in(authenticator)
        ),
    )
    context = None
    if settings.tls_certificate_file is not None:
        context = server_context(
            Certificates(settings), require_client=settings.tls_require_client_certificate
        )
    server = WebServer(app, settings.http_listen_address, context=context)
    process.spawn("web", server.run())
    process.spawn("http_answers", repeats.keep_small())
    process.server.on_drain(server.close)
    process.server.on_drain(loopback.close)
