"""The blocking face: the same client on a background loop, for threads without one."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_type_hints

import pytest

import headgate
from headgate import portals
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.options import ClientOptions
from headgate.testing import OUTPUT_NANOS, FakeGateway

FIRST = headgate.Candidate("openai", "gpt-4o-mini")


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def blocking(fake: FakeGateway) -> Iterator[headgate.SyncClient]:
    with fake.sync_client() as made:
        yield made


def report_of(fake: FakeGateway) -> gateway_pb2.CompleteCallRequest:
    (entry,) = fake.ledger.entries.values()
    assert entry.report is not None
    return entry.report


def test_a_block_is_admitted_and_reported(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    with blocking.call("summarize", max_output_tokens=50) as call:
        assert (call.provider, call.max_output_tokens) == ("openai", 50)
        call.report(output_tokens=20)

    assert call.receipt is not None
    assert fake.ledger.settled_nanos("acme") == call.receipt.total_nanos == 20 * OUTPUT_NANOS
    assert blocking.status().state is headgate.ServiceState.HEALTHY


def test_an_exception_of_the_block_is_classified_and_raised(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    with pytest.raises(ConnectionError), blocking.call("summarize"):
        raise ConnectionError

    assert report_of(fake).outcome == call_pb2.CALL_OUTCOME_PROVIDER_FAILED


def test_the_next_candidate_answers_in_the_callers_own_thread(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    threads: list[threading.Thread] = []

    def ask(call: headgate.SyncCall) -> str:
        threads.append(threading.current_thread())
        if call.candidate == FIRST:
            raise TimeoutError
        call.report(output_tokens=1)
        return call.provider

    assert blocking.run("summarize", ask) == "anthropic"
    assert threads == [threading.current_thread()] * 2
    assert fake.ledger.held_nanos("acme") == 0


def test_what_the_body_raises_comes_out_as_it_is(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    stop = StopIteration(7)

    def ask(call: headgate.SyncCall) -> str:
        raise stop

    with pytest.raises(StopIteration) as caught:
        blocking.run("summarize", ask)
    assert caught.value is stop
    assert report_of(fake).error_type == "StopIteration"


def test_ctrl_c_in_the_body_ends_the_call_and_leaves_the_loop_alone(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    def ask(call: headgate.SyncCall) -> str:
        call.report(output_tokens=4)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it is raised before")

    with pytest.raises(KeyboardInterrupt):
        blocking.run("summarize", ask)
    report = report_of(fake)
    assert (report.outcome, report.error_type) == (
        call_pb2.CALL_OUTCOME_ABORTED,
        "KeyboardInterrupt",
    )
    assert report.meters.output_token_count == 4
    assert blocking.status().state is headgate.ServiceState.HEALTHY


def test_ctrl_c_while_a_call_is_admitted_leaves_no_hold(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    pause = fake.faults.pause("admit", after=True)

    def interrupt() -> None:
        pause.reached.block(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), blocking.call("summarize"):
        raise AssertionError("it was not admitted")
    thread.join()
    pause.resume.set()
    blocking.close()

    assert fake.ledger.held_nanos("acme") == 0


def test_a_stream_is_read_in_the_callers_thread_and_charged_at_what_it_gave(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    closed = threading.Event()

    def tokens(call: headgate.SyncCall) -> Iterator[int]:
        if call.candidate == FIRST:
            raise ConnectionError
        try:
            for count in range(1, 50):
                call.report(output_tokens=count)
                yield count
        finally:
            closed.set()

    stream = blocking.call("summarize").stream(tokens)
    assert [next(stream) for _ in range(3)] == [1, 2, 3]
    stream.close()
    blocking.close()

    assert closed.is_set()
    assert fake.ledger.settled_nanos("acme") == 3 * OUTPUT_NANOS
    assert fake.ledger.held_nanos("acme") == 0


def test_a_stream_that_ends_is_complete(fake: FakeGateway, blocking: headgate.SyncClient) -> None:
    def tokens(call: headgate.SyncCall) -> Iterator[int]:
        yield from range(3)
        call.report(output_tokens=3)

    assert list(blocking.call("summarize").stream(tokens)) == [0, 1, 2]
    assert report_of(fake).outcome == call_pb2.CALL_OUTCOME_SUCCEEDED


def test_a_stream_that_fails_after_its_first_item_is_not_begun_anew(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    def tokens(call: headgate.SyncCall) -> Iterator[int]:
        yield 1
        raise ConnectionError

    stream = blocking.call("summarize").stream(tokens)
    assert next(stream) == 1
    with pytest.raises(ConnectionError):
        next(stream)
    assert fake.count("AdmitCall") == 1


def test_calls_of_many_threads_share_rpcs(
    fake: FakeGateway, blocking: headgate.SyncClient
) -> None:
    pauses = [fake.faults.pause("admit") for _ in range(4)]

    def call(tokens: int) -> int:
        with blocking.call("summarize", max_output_tokens=tokens) as made:
            made.report(output_tokens=tokens)
        assert made.receipt is not None
        return made.receipt.total_nanos

    with ThreadPoolExecutor(64) as threads:
        totals = [threads.submit(call, tokens) for tokens in range(64)]
        for pause in pauses:
            pause.reached.block(10)
        for pause in pauses:
            pause.resume.set()
        assert [each.result() for each in totals] == [n * OUTPUT_NANOS for n in range(64)]
    assert fake.count("AdmitCalls") + fake.count("AdmitCall") < 64


def test_a_closed_client_takes_no_more_calls(fake: FakeGateway) -> None:
    client = fake.sync_client()
    with client:
        pass
    with pytest.raises(headgate.ClientClosed):
        client.call("summarize").__enter__()


def test_a_blocking_call_in_the_background_loop_is_refused(
    blocking: headgate.SyncClient,
) -> None:
    async def block() -> None:
        blocking.status()

    async def nothing() -> None: ...

    with pytest.raises(headgate.CallMisused, match="its own event loop"):
        portals.Portal.run(portals.shared(), block, closer=nothing)


def test_both_faces_take_the_same_options() -> None:
    parameters = inspect.signature(headgate.Client).parameters

    assert {*get_type_hints(ClientOptions, localns=vars(headgate) | HINTS)} == (
        {*parameters} - {"target"}
    )


HINTS = {"grpc": __import__("grpc.aio"), "Tls": headgate.Tls}
