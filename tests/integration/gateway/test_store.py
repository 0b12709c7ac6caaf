"""The gateway's schema, its queries, and what bootstrap leaves in them."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from chassis import database
from chassis.errors import Internal, NotFound
from chassis.process import JobError
from gateway import key_store, keys
from gateway.admin.api_keys import ApiKeys
from gateway.admin.audit import Audit, Intent
from gateway.jobs.bootstrap import ROUTES, bootstrap
from gateway.key_store import KeyStore
from gateway.principals import Principal, Role, grant_all
from gateway.route_store import RouteStore, Writer, put_route
from gateway.routes import Routes
from gateway.store import QUERY_FILES, SCHEMA, SQL_DIRECTORY, TOP, Store, load_statements
from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, gateway_settings
from tests.postgres import Clone
from tests.schemas import (
    assert_queries_prepare,
    assert_schema_equals_migrations,
    build_schemas,
    owner_url,
    runtime_url,
)


async def build(url: str) -> None:
    await build_schemas(url, SCHEMA)


@pytest.fixture
async def url(clone: Clone) -> str:
    return await clone("gateway", build)


WRITER = Writer(actor="somebody", reason="")


def open_pool(url: str) -> database.Pool:
    return asyncpg.create_pool(
        runtime_url(url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    )


async def test_the_schema_is_what_the_migrations_make(clone: Clone) -> None:
    await assert_schema_equals_migrations(
        clone,
        SCHEMA,
        files=(
            *("schema.sql", "schema_staff.sql", "schema_audit.sql", "schema_http.sql"),
            *("schema_approvals.sql", "schema_budgets.sql", "schema_flights.sql"),
            "schema_oidc.sql",
            "schema_api_uses.sql",
        ),
    )


async def test_every_query_prepares_and_is_used(url: str) -> None:
    for file in QUERY_FILES:
        await assert_queries_prepare(url, SQL_DIRECTORY / file)

    used = "".join(path.read_text() for path in SQL_DIRECTORY.parent.glob("**/*store.py"))
    assert [name for name in load_statements() if f'"{name}"' not in used] == []
    assert {path.name for path in SQL_DIRECTORY.glob("queries*.sql")} == set(QUERY_FILES)


async def test_bootstrap_makes_an_install_usable_and_repeats_harmlessly(url: str) -> None:
    settings = gateway_settings(url)
    await bootstrap(settings)
    await bootstrap(settings)

    async with open_pool(url) as pool:
        store = Store(pool)
        found = await KeyStore(store).list_keys(below=TOP, count_max=10)
        admin = await KeyStore(store).fetch_key("admin")
        book = await RouteStore(store).list_all_routes()
        entries = await store.list_audit_entries(below=TOP, count_max=100)

    assert {each.key_id: (each.role, each.orgs) for each in found} == {
        "admin": (Role.ADMIN, ()),
        "acme": (Role.BACKEND, ("acme",)),
        "globex": (Role.BACKEND, ("globex",)),
    }
    assert admin is not None
    assert admin.key_hash == keys.hash_key(ADMIN_KEY)
    assert {each.operation for each in book.routes} == set(ROUTES)
    assert len(entries) == len(found) + len(ROUTES)
    assert {(each.actor, each.done) for each in entries} == {("job/bootstrap", True)}
    assert not any(key.rpartition("_")[2] in str(entries) for key in (ADMIN_KEY, ACME_KEY))


async def test_bootstrap_leaves_revoked_keys_and_changed_routes_alone(url: str) -> None:
    settings = gateway_settings(url)
    await bootstrap(settings)
    async with open_pool(url) as pool:
        store = Store(pool)
        (route,) = [
            each
            for each in (await RouteStore(store).list_all_routes()).routes
            if each.operation == "classify"
        ]
        changed = type(route)(
            operation=route.operation,
            candidates=route.candidates[:1],
            default_max_output_token_count=1,
            fallback_text="",
            hold_seconds=1,
        )
        async with store.transaction() as transaction:
            await key_store.revoke_key(transaction, "acme")
            await put_route(transaction, changed, WRITER)
        await bootstrap(settings)
        acme = await KeyStore(store).fetch_key("acme")
        routes = (await RouteStore(store).list_all_routes()).routes

    assert acme is not None
    assert acme.remaining_seconds == 0
    assert changed in routes


async def test_bootstrap_refuses_a_known_key_with_another_secret(url: str) -> None:
    await bootstrap(gateway_settings(url))

    with pytest.raises(JobError, match="admin is stored with another secret"):
        await bootstrap(gateway_settings(url, bootstrap_admin_key="hg_admin_" + "Z" * 43))


async def test_bootstrap_without_keys_makes_routes_only(url: str) -> None:
    await bootstrap(gateway_settings(url, bootstrap_admin_key=None, bootstrap_api_keys=None))

    async with open_pool(url) as pool:
        assert await KeyStore(Store(pool)).list_keys(below=TOP, count_max=1) == []
        assert len((await RouteStore(Store(pool)).list_all_routes()).routes) == len(ROUTES)


async def test_routes_are_read_again_only_when_their_version_moved(url: str) -> None:
    await bootstrap(gateway_settings(url))
    async with open_pool(url) as pool:
        store = Store(pool)
        routes = Routes(RouteStore(store))
        with pytest.raises(RuntimeError, match="no routes yet"):
            await routes.check_ready()
        await routes.refresh()
        await routes.check_ready()
        before = routes.find("chat")
        await routes.refresh()
        unchanged = routes.find("chat")
        async with store.transaction() as transaction:
            await put_route(transaction, before, WRITER)
        await routes.refresh()

    assert unchanged is before
    assert routes.find("chat") is not before
    assert routes.find("chat") == before


async def test_a_change_stands_although_its_outcome_could_not_be_written(url: str) -> None:
    async with open_pool(url) as pool:
        audit = Audit(Store(pool))
        began, go_on = asyncio.Event(), asyncio.Event()

        async def send(audit_id: str) -> str:
            connection = await asyncpg.connect(owner_url(url, SCHEMA))
            await connection.execute(f"ALTER TABLE {SCHEMA}.audit_outcome RENAME TO elsewhere")
            await connection.close()
            began.set()
            await go_on.wait()
            return "done"

        intent = Intent(actor="k", action="Kill", target="kill/platform", request_json="{}")
        change = asyncio.create_task(audit.change_elsewhere(intent, send))
        await began.wait()
        closing = asyncio.create_task(audit.close())
        change.cancel()
        await asyncio.wait([change])
        assert not closing.done(), "a change is under way"
        go_on.set()
        await closing
        await audit.close()
        (entry,) = await pool.fetch("SELECT action FROM audit_entry")

    assert entry["action"] == "Kill"


async def test_an_outcome_quotes_what_the_database_cannot_hold(url: str) -> None:
    async def refuse(_: str) -> None:
        raise NotFound("provider", "is not a\0name")

    intent = Intent(actor="k", action="PutPrice", target="price/x", request_json="{}")
    async with open_pool(url) as pool:
        with pytest.raises(NotFound):
            await Audit(Store(pool)).change_elsewhere(intent, refuse)
        (outcome,) = await pool.fetch("SELECT done, error FROM audit_outcome")

    assert not outcome["done"]
    assert "is not a\ufffdname" in outcome["error"]


async def test_two_keys_never_share_an_id(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await bootstrap(gateway_settings(url))
    taken = keys.NewKey(key_id="acme", secret=ACME_KEY)
    monkeypatch.setattr(keys, "make", lambda: taken)
    request = admin_pb2.CreateApiKeyRequest(
        name="unlucky", role=admin_pb2.ROLE_BACKEND, orgs=["globex"]
    )
    admin = Principal(actor="admin", grants=grant_all(Role.ADMIN, ()))
    async with open_pool(url) as pool:
        store = Store(pool)
        with pytest.raises(Internal):
            await ApiKeys(KeyStore(store), Audit(store)).create(request, admin)
        (entry,) = await store.list_audit_entries(below=TOP, count_max=1)
        acme = await KeyStore(store).fetch_key("acme")

    assert (entry.done, entry.error) == (False, "INTERNAL")
    assert acme is not None
    assert acme.principal.orgs == {"acme"}
