"""Takes a request of a provider's SDK through admission, providers and report."""

from __future__ import annotations

import functools
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from headgate import dialects
from headgate.attempt import Attempt
from headgate.client import Session
from headgate.decisions import CallOutcome, Candidate
from headgate.dialects.shape import Asked, Sent, Shape, UnreadableError
from headgate.errors import (
    AllCandidatesFailed,
    CallMisused,
    Denied,
    HeadgateError,
    NotSent,
    NotServed,
    RpcError,
)
from headgate.failover import Search, entered
from headgate.options import CallOptions
from headgate.transports.answers import HttpFailureError, copy, refuse, say, stream
from headgate.transports.providers import Directory, Origin, Target
from headgate.transports.repetition import Repetition
from headgate.transports.sender import Sender
from headgate.transports.stream import GovernedStream
from headgate.transports.terms import Terms
from headgate.usage.tiers import service_tier

_REDIRECT_STATUS: Final = 300
_ERROR_STATUS: Final = 400
# URLs that are remembered parsed; some name a model each.
_URL_COUNT_MAX: Final = 256
# What a request that goes elsewhere has of its own.
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One request, as it came."""

    request: Any
    shape: Shape
    asked: Asked
    origin: Origin
    terms: Terms
    repetition: Repetition


class Governor:
    """Governs requests of one HTTP library (`http`) in the name of one session."""

    def __init__(
        self,
        session: Session,
        *,
        http: Any,
        sender: Sender,
        directory: Directory,
        terms: Terms,
    ) -> None:
        self._session = session
        self._http = http
        self._sender = sender
        self._directory = directory
        self._terms = terms

    async def handle(self, request: Any, repetition: Repetition) -> Any:
        """Returns the answer to a request whose content has been read."""
        endpoint = dialects.find(request.url.path) if request.method == "POST" else None
        try:
            if endpoint is None:
                return await self._pass_on(request)
            exchange = self._understand(request, endpoint, repetition)
            return await self._serve(exchange)
        except HttpFailureError as failure:
            return failure.response
        except UnreadableError as error:
            return refuse(self._http, CallMisused(f"can't govern the request: {error}"))
        except HeadgateError as error:
            return refuse(self._http, error)

    async def aclose(self) -> None:
        """Closes the connections to the providers."""
        await self._sender.aclose()

    async def _pass_on(self, request: Any) -> Any:
        free = dialects.is_free(request.method, request.url.path)
        if not free and self._terms.current().on_unknown == "refuse":
            raise CallMisused(
                f"{request.method} {request.url.path} can't be governed, and it may cost; "
                'on_unknown="pass" lets such requests pass'
            )
        sent = self._http.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            extensions=request.extensions,
        )
        return await self._sender.send(sent)

    def _understand(
        self, request: Any, endpoint: dialects.Endpoint, repetition: Repetition
    ) -> _Exchange:
        origin = self._directory.find_origin(str(request.url), start=endpoint.start)
        kind = request.headers.get("content-type", "application/json")
        sent = Sent(path=origin.path, content=request.content, content_type=kind)
        return _Exchange(
            request=request,
            shape=endpoint.shape,
            asked=endpoint.shape.read(sent),
            origin=origin,
            terms=self._terms.current(),
            repetition=repetition,
        )

    async def _serve(self, exchange: _Exchange) -> Any:
        """Returns a provider's answer, or what the caller gets instead of one."""
        try:
            return await self._try_each(exchange)
        except (Denied, NotServed, AllCandidatesFailed) as error:
            if exchange.terms.on_refused == "fallback" and error.fallback_text:
                spoken = exchange.shape.speak(exchange.asked, error.fallback_text)
                if spoken is not None:
                    return say(self._http, spoken)
            if not isinstance(error, AllCandidatesFailed):
                raise
            exchange.repetition.failed = True
            # The provider's own error, as if nobody stood in between.
            told = [each for each in error.failures if not isinstance(each, RpcError)]
            raise told[-1] from None

    async def _try_each(self, exchange: _Exchange) -> Any:
        """Asks one candidate after the other until one answers."""
        search = Search(self._plan(exchange))
        while True:
            try:
                answer = await self._attempt(search.attempt, exchange)
                if answer is not None:
                    return answer
            except NotSent:
                search.pass_over()
            except Exception as error:  # noqa: BLE001 - raised again unless another may survive it
                search.note(error)
            search.go_on()

    def _plan(self, exchange: _Exchange) -> Attempt:
        asked, repetition = exchange.asked, exchange.repetition
        options: CallOptions = {
            "input_tokens": asked.input_tokens,
            "parent_call_id": repetition.call_id,
            # Where it would have gone, if nobody decides and the client lets it through.
            "default_candidate": Candidate(exchange.origin.name, asked.model),
            **exchange.terms.options,
            "on_denied": "return",
        }
        if asked.max_units:
            options["max_units"] = {**asked.max_units, **options.get("max_units", {})}
        if asked.max_output_tokens is not None:
            # What is sent decides, whatever was said of all calls.
            options["max_output_tokens"] = asked.max_output_tokens
        first = Attempt(self._session.plan(exchange.terms.operation, options), self._session.desk)
        repetition.call_id = repetition.call_id or first.call_id
        return first

    async def _attempt(self, call: Attempt, exchange: _Exchange) -> Any:
        """Returns one candidate's answer; whatever happens, the call ends with it.

        None: the call is denied.
        """
        async with AsyncExitStack() as call_exit:
            await call_exit.enter_async_context(entered(call))
            if call.denial is not None:
                return None
            target = self._find_target(call.candidate, exchange)
            if target is None:
                raise NotSent
            shape, asked = exchange.shape.as_spoken_by(target.dialect), exchange.asked
            path, content = shape.write(
                asked, model=call.model, max_output_tokens=call.max_output_tokens
            )
            request = self._address(call, exchange, target, path, content)
            response = await self._sender.send(request)
            if response.status_code >= _REDIRECT_STATUS:
                return await self._read_failure(response, call)
            if not _is_json(response):
                falls_back = exchange.terms.on_refused == "fallback"
                watched = GovernedStream(
                    response,
                    call=call,
                    call_exit=call_exit.pop_all(),
                    shape=shape,
                    asked=asked,
                    fallback_text=call.fallback_text if falls_back else "",
                )
                return stream(self._http, response, watched, call)
            answer = _parse(await response.aread())
            call.report_meters(**shape.meters(asked, answer))
            call.service_tier = service_tier(answer)
            return copy(self._http, response, call)

    def _find_target(self, candidate: Candidate, exchange: _Exchange) -> Target | None:
        if not exchange.terms.rewrite_model and candidate.model != exchange.asked.model:
            return None
        return self._directory.find_target(
            candidate.provider, origin=exchange.origin, family=exchange.shape.family
        )

    def _address(
        self, call: Attempt, exchange: _Exchange, target: Target, path: str, content: bytes
    ) -> Any:
        """Returns the request as the candidate is to get it."""
        withheld = target.withheld | _OWN_HEADERS | {name.lower() for name in target.headers}
        came = exchange.request.headers.multi_items()
        headers = [(name, value) for name, value in came if name.lower() not in withheld]
        headers += [*target.headers.items(), ("x-headgate-call-id", call.call_id)]
        return self._http.Request(
            "POST",
            _parse_url(self._http, target.base_url + path),
            headers=headers,
            content=content,
            extensions=exchange.request.extensions,
        )

    async def _read_failure(self, response: Any, call: Attempt) -> Any:
        await response.aread()
        answer = copy(self._http, response, call)
        if response.status_code >= _ERROR_STATUS:
            raise HttpFailureError(answer)
        # A redirection is none of ours to follow: where it leads is asked for by itself.
        call.fail(CallOutcome.REJECTED, error_type=str(response.status_code))
        return answer


@functools.lru_cache(maxsize=_URL_COUNT_MAX)
def _parse_url(http: Any, url: str) -> Any:
    """Returns the URL, parsed once: that costs more than all of its headers."""
    return http.URL(url)


def _is_json(response: Any) -> bool:
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _parse(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
