"""Takes a request of a provider's SDK through admission, providers and report."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from headgate import dialects
from headgate.call import Call
from headgate.client import Client
from headgate.decisions import CallOutcome, Candidate, DenialReason
from headgate.dialects.shape import Asked, Shape, UnreadableError
from headgate.errors import (
    AllCandidatesFailed,
    CallMisused,
    Denied,
    HeadgateError,
    NotSent,
    NotServed,
    RpcError,
)
from headgate.failover import EXCLUDED_COUNT_MAX
from headgate.transports.answers import HttpFailureError, copy, refuse, say, stream
from headgate.transports.providers import Directory, Origin, Target
from headgate.transports.stream import GovernedStream
from headgate.transports.terms import Terms

_REDIRECT_STATUS: Final = 300
_ERROR_STATUS: Final = 400
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


class Governor:
    """Governs requests of one HTTP library (`http`), sent by one of its asynchronous clients."""

    def __init__(
        self, client: Client, *, http: Any, sender: Any, directory: Directory, terms: Terms
    ) -> None:
        self._client = client
        self._http = http
        self._sender = sender
        self._directory = directory
        self._terms = terms

    async def handle(self, request: Any) -> Any:
        """Returns the answer to a request whose content has been read."""
        endpoint = dialects.find(request.url.path) if request.method == "POST" else None
        if endpoint is None:
            return await self._pass_on(request)
        try:
            exchange = self._understand(request, endpoint)
            return await self._serve(exchange)
        except HttpFailureError as failure:
            return failure.response
        except UnreadableError as error:
            return refuse(self._http, CallMisused(f"can't govern the request: {error}"))
        except HeadgateError as error:
            return self._answer(exchange, error)

    async def aclose(self) -> None:
        """Closes the connections to the providers."""
        await self._sender.aclose()

    async def _pass_on(self, request: Any) -> Any:
        sent = self._http.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            extensions=request.extensions,
        )
        return await self._sender.send(sent, stream=True)

    def _understand(self, request: Any, endpoint: dialects.Endpoint) -> _Exchange:
        shape = endpoint.shape
        origin = self._directory.find_origin(str(request.url), endpoint=endpoint.path)
        return _Exchange(
            request=request,
            shape=shape,
            asked=shape.read(origin.path, request.content),
            origin=origin,
            terms=self._terms,
        )

    async def _serve(self, exchange: _Exchange) -> Any:
        """Asks one candidate after the other until one answers."""
        first = attempt = self._plan(exchange)
        failures: list[Exception] = []
        tried: tuple[Candidate, ...] = ()
        fallback_text = ""
        while True:
            try:
                return await self._attempt(attempt, exchange)
            except NotSent:
                pass
            except Exception as error:
                unanswered = tried and not attempt.admitted
                if not attempt.survivable and not (unanswered and _is_refusal(error)):
                    raise
                failures += [] if isinstance(error, Denied) else [error]
            fallback_text = attempt.fallback_text or fallback_text
            if attempt.admitted:
                tried += (attempt.candidate,)
            if not attempt.admitted or len(tried) > EXCLUDED_COUNT_MAX:
                raise _exhausted(attempt, failures, fallback_text)
            attempt = first.follow(tried)

    def _plan(self, exchange: _Exchange) -> Call:
        terms, asked = exchange.terms, exchange.asked
        return self._client.call(
            terms.operation,
            org=terms.org,
            labels=terms.labels,
            input_tokens=asked.input_tokens if terms.input_tokens is None else terms.input_tokens,
            max_output_tokens=asked.max_output_tokens,
            timeout_seconds=terms.timeout_seconds,
            on_denied="return",
        )

    async def _attempt(self, call: Call, exchange: _Exchange) -> Any:
        """Returns one candidate's answer; whatever happens, the call ends with it."""
        async with AsyncExitStack() as call_exit:
            await call_exit.enter_async_context(call)
            if call.denial is not None:
                raise Denied(call.denial)
            request = self._address(call, exchange)
            response = await self._sender.send(request, stream=True, follow_redirects=False)
            if response.status_code >= _REDIRECT_STATUS:
                return await self._read_failure(response, call)
            if exchange.asked.streams or not _is_json(response):
                watched = GovernedStream(
                    response,
                    call=call,
                    call_exit=call_exit.pop_all(),
                    shape=exchange.shape,
                    asked=exchange.asked,
                )
                return stream(self._http, response, watched, call)
            answer = _parse(await response.aread())
            call.report_meters(**exchange.shape.meters(exchange.asked, answer))
            return copy(self._http, response, call)

    def _address(self, call: Call, exchange: _Exchange) -> Any:
        """Returns the request as the admitted candidate is to get it."""
        target = self._find_target(call.candidate, exchange)
        if target is None:
            raise NotSent
        path, content = exchange.shape.write(
            exchange.asked, model=call.model, max_output_tokens=call.max_output_tokens
        )
        withheld = target.withheld | _OWN_HEADERS
        came = exchange.request.headers.multi_items()
        headers = [(name, value) for name, value in came if name.lower() not in withheld]
        headers += [*target.headers.items(), ("x-headgate-call-id", call.call_id)]
        return self._http.Request(
            "POST",
            target.base_url + path,
            headers=headers,
            content=content,
            extensions=exchange.request.extensions,
        )

    def _find_target(self, candidate: Candidate, exchange: _Exchange) -> Target | None:
        if not exchange.terms.rewrite_model and candidate.model != exchange.asked.model:
            return None
        return self._directory.find_target(
            candidate.provider, origin=exchange.origin, dialect=exchange.shape.dialect
        )

    async def _read_failure(self, response: Any, call: Call) -> Any:
        await response.aread()
        answer = copy(self._http, response, call)
        if response.status_code >= _ERROR_STATUS:
            raise HttpFailureError(answer)
        call.fail(CallOutcome.REJECTED, error_type=str(response.status_code))
        return answer

    def _answer(self, exchange: _Exchange, error: HeadgateError) -> Any:
        """Returns what the caller gets instead of a provider's answer, or raises it."""
        text = getattr(error, "fallback_text", "")
        if exchange.terms.on_denied == "fallback" and text:
            spoken = exchange.shape.speak(exchange.asked, text)
            if spoken is not None:
                return say(self._http, spoken)
        if not isinstance(error, AllCandidatesFailed):
            return refuse(self._http, error)
        told = [each for each in error.failures if not isinstance(each, HeadgateError)]
        # The provider's own error, as if nobody stood in between.
        last = told[-1]
        if isinstance(last, HttpFailureError):
            return last.response
        raise last


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, (Denied, RpcError))


def _exhausted(last: Call, failures: list[Exception], fallback_text: str) -> HeadgateError:
    """Returns the error that says why no candidate is left."""
    if failures:
        return AllCandidatesFailed(failures, fallback_text=fallback_text, denial=last.denial)
    if last.denial is not None and last.denial.reason is not DenialReason.NO_CANDIDATE:
        return Denied(last.denial)
    return NotServed(fallback_text=fallback_text)


def _is_json(response: Any) -> bool:
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _parse(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
