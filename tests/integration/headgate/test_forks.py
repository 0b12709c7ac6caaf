"""Prefork servers: clients made before a fork connect after it, each process by itself."""

from __future__ import annotations

import textwrap

import pytest

from headgate.testing import API_KEY, OUTPUT_NANOS, FakeGateway
from tests.integration.headgate.programs import run_program

CHILDREN = 3

# What each server does between loading the backend and its workers' first call.
HEAD = """
target, key = sys.argv[1:]
client = headgate.SyncClient(target, api_key=key, reports="background")
async_client = headgate.Client(target, api_key=key)

def call():
    with client.call("summarize") as made:
        made.report(output_tokens=1)

async def call_async():
    async with async_client.call("summarize") as made:
        made.report(output_tokens=1)

def fork(work, count=1):
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            code = 1
            try:
                work()
                code = 0
            except SystemExit as ended:
                code = ended.code
            finally:
                # As interpreters end: what is to be done at exit is done.
                import atexit
                atexit._run_exitfuncs()
                os._exit(code)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
PROGRAMS = {
    # gunicorn with preload_app: sync workers.
    "blocking workers of a parent that made no call": (3, "fork(call, 3)"),
    # gunicorn with preload_app: uvicorn workers.
    "async workers of a parent that made no call": (
        3,
        "fork(lambda: asyncio.run(call_async()), 3)",
    ),
    # Celery: the pool's parent has called before, and a worker's child forks, too.
    "a parent that has called before": (5, "call(); fork(call, 3); call()"),
    "children of children": (
        3,
        "fork(lambda: (call(), fork(call))); call()",
    ),
    "a parent whose threads call while it forks": (
        6,
        """
        threads = [threading.Thread(target=call) for _ in range(3)]
        for each in threads: each.start()
        for each in threads: each.join()
        fork(call, 3)
        """,
    ),
    "multiprocessing": (
        4,
        """
        call()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for result in [pool.apply_async(call) for _ in range(3)]:
                result.get(30)
            pool.close()
            pool.join()
        """,
    ),
    "a parent that closed its async client": (
        4,
        """
        async def main():
            async with async_client:
                await call_async()
        asyncio.run(main())
        fork(call, 3)
        """,
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
async def test_every_process_calls_and_reports(gateway: FakeGateway, program: str) -> None:
    count, text = PROGRAMS[program]
    await run_program(HEAD + textwrap.dedent(text), gateway.target, API_KEY)

    assert len(gateway.ledger.entries) == count
    assert gateway.ledger.settled_nanos("acme") == count * OUTPUT_NANOS
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_child_that_could_only_hang_is_told(gateway: FakeGateway) -> None:
    text = """
    def fail():
        try:
            call()
        except headgate.CallMisused as error:
            assert "forked while its parent was connected" in str(error)
            sys.exit(0)
        sys.exit(1)

    async def main():
        await call_async()
        fork(fail)
        await async_client.close()

    asyncio.run(main())
    """
    await run_program(HEAD + textwrap.dedent(text), gateway.target, API_KEY)

    assert len(gateway.ledger.entries) == 1
