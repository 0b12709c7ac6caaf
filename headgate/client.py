"""The client that a backend keeps for as long as it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from headgate import approvals, channel, config, feedback, questions, sharing, wire
from headgate.api.gateway.v1 import gateway_pb2
from headgate.call import Call
from headgate.config import Mode
from headgate.desk import Desk, Policies, make_id
from headgate.incidents import Incident, IncidentKind, Incidents
from headgate.options import CallerOptions, CallOptions, OnUnreachable, Reports
from headgate.plan import Plan, make_plan

if TYPE_CHECKING:
    from types import TracebackType

    import grpc.aio
    from typing_extensions import Unpack

    from headgate.approvals import Approval, PendingApproval
    from headgate.decisions import Status
    from headgate.outlooks import Estimate, Extension, LimitsState

T = TypeVar("T")

ADMISSION_TIMEOUT_SECONDS: Final = 5.0
REPORT_TIMEOUT_SECONDS: Final = 10.0
# Nobody waits for these, so they may take as long as networks need to come back.
BACKGROUND_REPORT_TIMEOUT_SECONDS: Final = 600.0
# Where no server is: the fake never connects, and neither does who asks nobody.
_NOWHERE: Final = "unix:headgate"


class Session:
    """Calls of one caller: a view of a client with words of its own. It shares nothing but the
    connection with other sessions, and need not be closed.
    """

    def __init__(self, desk: Desk, terms: CallOptions, *, timeout_seconds: float) -> None:
        # What all calls of the client share.
        self.desk: Final = desk
        self._terms = terms
        self._timeout_seconds = timeout_seconds

    def call(self, operation: str, **options: Unpack[CallOptions]) -> Call:
        """Returns a call to enter with `async with`; nothing is asked before that.

        The greater of `input_tokens` and `input_bytes` bounds the input. Without
        `max_output_tokens` the operation's default holds: pass on `call.max_output_tokens`.
        Entering raises Denied, or with on_denied="return" leaves `call.admitted` false; Finished
        if `call_id` has ended; RpcError if the call can't be decided on. With `wait_seconds` a
        denied call waits for room, if waiting can help. All options: `headgate.options`.
        """
        return Call(self.plan(operation, options), self.desk)

    async def run(
        self,
        operation: str,
        body: Callable[[Call], Awaitable[T]],
        **options: Unpack[CallOptions],
    ) -> T:
        """Returns `await body(call)`, tried with one candidate after the other: see `Call.run`."""
        return await self.call(operation, **options).run(body)

    async def share(
        self,
        operation: str,
        body: Callable[[Call], Awaitable[bytes]],
        *,
        key: str = "",
        payload: bytes | Mapping[str, object] | None = None,
        across_sessions: bool = False,
        **options: Unpack[CallOptions],
    ) -> bytes:
        """Returns `await body(call)`, as `run` does, but identical calls that are under way at
        once are made once: the others get the same bytes, and are booked at nothing.

        Identical are calls of one org, operation and session (of all sessions, if it is said)
        with the same `key`, or whose `payload` is the same. The route must allow it; else each
        makes its own. If the one that is made fails or its process dies, the next one is made.
        """
        key, plan = sharing.key_of(key, payload), self.plan(operation, options)
        return await sharing.run(self.desk, plan, body, key=key, across_sessions=across_sessions)

    async def estimate(self, operation: str, **options: Unpack[CallOptions]) -> Estimate:
        """Returns what a call would hold on each candidate, and whether it would be admitted now.

        Nothing is held. Raises RpcError.
        """
        return await questions.estimate(self.desk.connect(), self.plan(operation, options))

    async def watch_limits(
        self, operation: str, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[LimitsState, None]:
        """Yields the limits that apply to a call: at once, and whenever their state changes.

        A queue may pause while the state is not `open`. Nothing is held. Raises RpcError if the
        stream breaks: begin again.
        """
        call = self.plan(operation, options).to_request()
        async with aclosing(questions.watch_limits(self.desk.connect(), call)) as states:
            async for state in states:
                yield state

    async def extend_call(
        self, call_id: str, *, org: str = "", seconds: float | None = None
    ) -> Extension:
        """Prolongs the hold of a running call of which only the id is left; see `Call.extend`."""
        return await questions.extend(
            self.desk.connect(),
            org=org or self._terms.get("org", ""),
            call_id=call_id,
            seconds=seconds,
            timeout=self._timeout_seconds,
        )

    async def request_approval(
        self,
        operation: str,
        *,
        summary: str,
        lifetime_seconds: float | None = None,
        **options: Unpack[CallOptions],
    ) -> PendingApproval | None:
        """Asks people for leave to make a call, and says what it is for. None: it needs none.

        Nothing is held meanwhile. Asking again with the same `call_id` finds the same request.
        Raises RpcError.
        """
        plan = self.plan(operation, options)
        found = await approvals.ask(
            self.desk.connect(), plan, summary=summary, lifetime_seconds=lifetime_seconds
        )
        if found is None:
            return None
        return approvals.PendingApproval(found, self, plan)

    async def await_approval(
        self, approval_id: str, *, org: str = "", timeout_seconds: float | None = None
    ) -> Approval:
        """Returns a request of this key's when it was decided or expired, or as it is after the
        time. Survives restarts of gateways. Raises RpcError.
        """
        return await approvals.wait(
            self.desk.connect,
            approval_id,
            org=org or self._terms.get("org", ""),
            timeout=timeout_seconds,
        )

    def for_user(self, user: str, **terms: Unpack[CallerOptions]) -> Session:
        """Returns a session whose calls are this user's, on these terms unless they say else."""
        # The cast says that what is not required may be missing.
        words = cast("CallOptions", {**terms, "user": user})
        return Session(self.desk, self._mix(words), timeout_seconds=self._timeout_seconds)

    def plan(self, operation: str, options: CallOptions) -> Plan:
        """Returns what the options say of a call, with the session's own terms."""
        return make_plan(
            operation,
            new_id=make_id(),
            default_timeout_seconds=self._timeout_seconds,
            **self._mix(options),
        )

    def _mix(self, options: CallOptions) -> CallOptions:
        """Returns the options with the session's own terms; both may have labels and
        variables.
        """
        terms = self._terms
        if not terms:
            return options
        mixed: CallOptions = {**terms, **options}
        if "labels" in terms and "labels" in options:
            mixed["labels"] = {**terms["labels"], **options["labels"]}
        if "variables" in terms and "variables" in options:
            mixed["variables"] = {**terms["variables"], **options["variables"]}
        return mixed


class Client(Session):
    """Asks Headgate before AI calls and reports after them.

    Connects when it is first used, so it may be made before a fork; a forked child makes a
    connection of its own, provided that its parent had none open. Serves one event loop.
    `target` is the gateway's address, as gRPC writes it; empty: HEADGATE_TARGET, else this
    machine. `api_key` empty: HEADGATE_API_KEY. HEADGATE_MODE=off asks nobody, and =fake a gateway
    in memory; neither needs target or key. Without `tls`, HEADGATE_TLS_CA_FILE names the authority
    to trust; without that, this machine is reached in plain text and all others by TLS with the
    system's authorities. `org` is for keys that may act for
    several. All options: `headgate.options.ClientOptions`. Raises ValueError for what can't be a
    target or a key.
    """

    def __init__(
        self,
        target: str = "",
        *,
        api_key: str = "",
        org: str = "",
        tls: channel.Tls | None = None,
        insecure: bool = False,
        admission_timeout_seconds: float = ADMISSION_TIMEOUT_SECONDS,
        report_timeout_seconds: float | None = None,
        reports: Reports = "wait",
        on_unreachable: OnUnreachable = "deny",
        on_incident: Callable[[Incident], None] | None = None,
        open_channel: Callable[[], grpc.aio.Channel] | None = None,
    ) -> None:
        mode = Mode.ON if open_channel is not None else config.read_mode()
        if mode is not Mode.ON:
            target, api_key = _NOWHERE, api_key or mode.value
        elif tls is None and not insecure:
            tls = config.read_tls()
        target, api_key = target or config.read_target(), api_key or config.read_key()
        channel.check_target(target, tls=tls, insecure=insecure)
        if mode is Mode.FAKE:
            open_channel = _open_fake
        if report_timeout_seconds is None:
            background = reports == "background"
            report_timeout_seconds = (
                BACKGROUND_REPORT_TIMEOUT_SECONDS if background else REPORT_TIMEOUT_SECONDS
            )
        desk = Desk(
            open_channel=open_channel
            or partial(channel.open_channel, target, tls=tls, insecure=insecure),
            metadata=channel.authorization(api_key),
            policies=Policies(
                mode=mode,
                reports=reports,
                on_unreachable=on_unreachable,
                report_timeout_seconds=report_timeout_seconds,
            ),
            incidents=Incidents(on_incident),
        )
        self._org = org
        super().__init__(
            desk, {"org": org} if org else {}, timeout_seconds=admission_timeout_seconds
        )

    @property
    def incidents(self) -> Mapping[IncidentKind, int]:
        """How many incidents of each kind there were."""
        return self.desk.incidents.counts

    async def status(self) -> Status:
        """Returns whether calls pass, as one gateway knows it. Raises RpcError."""
        answer = await self.desk.connect().ask(
            lambda stub: stub.GetStatus,
            gateway_pb2.GetStatusRequest(),
            timeout=self._timeout_seconds,
        )
        return wire.parse_status(answer)

    async def feedback(self, call_id: str, metric: str, score: float, *, org: str = "") -> None:
        """Says how good a booked call was, from 0 to 1, the best. The last word on each metric
        counts.

        Raises RpcError, NotFound for a call that is not booked. No words are sent: keep comments
        where your users' data are.
        """
        await feedback.send(
            self.desk, org=org or self._org, call_id=call_id, metric=metric, score=score
        )

    async def close(self) -> None:
        """Takes no more calls and returns when reports under way have ended.

        Each report is bounded by `report_timeout_seconds`, and all of them by half a minute: what
        is left is delivered in the background, until the process ends. Calls whose block is still
        running can't report any more: end them first.
        """
        await self.desk.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _open_fake() -> grpc.aio.Channel:
    # Only who asks for the fake pays for it.
    from headgate.testing.process import process_gateway  # noqa: PLC0415

    return process_gateway().open_channel()
