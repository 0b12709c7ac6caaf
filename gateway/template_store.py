"""Templates and their history in the gateway's schema."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from chassis.errors import FailedPrecondition, NotFound, ServiceError
from gateway.domain.templates import BadTemplateError, Template, prepare
from gateway.store import Store, Transaction

TEMPLATE_COUNT_MAX: Final = 200
# Of all texts together: every gateway keeps them.
BYTES_MAX: Final = 1_000_000
# Revisions of one template that are kept.
REVISION_COUNT_MAX: Final = 100
KIND: Final = "template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One state of a template, and who made it."""

    template: Template
    revision: int
    deleted: bool
    actor: str
    reason: str
    change_time: dt.datetime


async def list_all_templates(store: Store) -> Mapping[str, Template]:
    """Returns every template by its name, ready to render."""
    rows = await store.rows("list_all_templates")
    templates = [_read_template(row) for row in rows]
    # Away from the event loop: a text takes milliseconds the first time.
    await asyncio.to_thread(_prepare_all, templates)
    return {each.template_id: each for each in templates}


async def list_templates(store: Store, *, after: str, count_max: int) -> list[Revision]:
    """Returns templates in order of their names."""
    return [_read(row) for row in await store.rows("list_templates", after, count_max)]


async def list_template_revisions(
    store: Store, template_id: str, *, below: int, count_max: int
) -> list[Revision]:
    """Returns a template's history, newest first."""
    rows = await store.rows("list_template_revisions", template_id, below, count_max)
    return [_read(row) for row in rows]


async def read_template(store: Store, template_id: str, revision: int) -> Revision:
    """Returns a revision, 0 being the newest; a deleted one only if it is asked for. Raises
    NotFound.
    """
    row = await store.row("read_template", template_id, revision)
    if row is None or (row["deleted"] and not revision):
        raise NotFound(KIND, template_id)
    return _read(row)


async def put_template(
    on: Transaction, template: Template, *, base_revision: int, actor: str, reason: str
) -> Revision:
    """Appends a revision unless it would change nothing; runs `bump_route_version` first. Raises
    FailedPrecondition.
    """
    await on.value("bump_route_version")
    newest = await on.row("read_template", template.template_id, 0)
    if newest is not None and not newest["deleted"] and _read_template(newest) == template:
        # Said twice.
        return _read(newest)
    number = 0 if newest is None else newest["revision"]
    _expect(template.template_id, number, base_revision)
    await _check_room(on, template)
    return await _append(on, template, number + 1, deleted=False, actor=actor, reason=reason)


async def delete_template(
    on: Transaction, template_id: str, *, base_revision: int, actor: str, reason: str
) -> None:
    """Appends that there is no such template; runs `bump_route_version` first. Raises NotFound,
    FailedPrecondition.
    """
    done = await delete_template_if_there(
        on, template_id, base_revision=base_revision, actor=actor, reason=reason
    )
    if not done:
        raise NotFound(KIND, template_id)


async def delete_template_if_there(
    on: Transaction, template_id: str, *, base_revision: int = 0, actor: str, reason: str
) -> bool:
    """Does what `delete_template` does. False: there is none."""
    await on.value("bump_route_version")
    newest = await on.row("read_template", template_id, 0)
    if newest is None or newest["deleted"]:
        return False
    _expect(template_id, newest["revision"], base_revision)
    await _append(
        on,
        _read_template(newest),
        newest["revision"] + 1,
        deleted=True,
        actor=actor,
        reason=reason,
    )
    return True


def _expect(template_id: str, found: int, base: int) -> None:
    if base not in (0, found):
        raise FailedPrecondition(
            f"the template {template_id} is at revision {found} by now; read it again",
            "TEMPLATE_CHANGED",
            template=template_id,
            revision=str(found),
        )


async def _check_room(on: Transaction, template: Template) -> None:
    others = await on.one("sum_templates", template.template_id)
    size = len(json.dumps(dict(template.texts), ensure_ascii=False).encode())
    if others["template_count"] >= TEMPLATE_COUNT_MAX or others["byte_count"] + size > BYTES_MAX:
        raise _too_many()


async def _append(
    on: Transaction, template: Template, number: int, *, deleted: bool, actor: str, reason: str
) -> Revision:
    row = await on.one(
        "insert_template_revision",
        template.template_id,
        number,
        template.default_locale,
        template.is_html,
        json.dumps(dict(template.texts), ensure_ascii=False),
        deleted,
        actor,
        reason,
    )
    await on.value("prune_template_revisions", template.template_id, number - REVISION_COUNT_MAX)
    return _read(row)


def _too_many() -> ServiceError:
    return FailedPrecondition(
        f"at most {TEMPLATE_COUNT_MAX} templates with {BYTES_MAX} bytes of text are kept; delete "
        "some",
        "TOO_MANY_TEMPLATES",
    )


def _prepare_all(templates: list[Template]) -> None:
    for each in templates:
        for text in each.texts.values():
            try:
                prepare(text, is_html=each.is_html)
            except BadTemplateError:
                # Written by a later version, with other rules: calls get their route's own text.
                continue


def _read(row: asyncpg.Record) -> Revision:
    return Revision(
        template=_read_template(row),
        revision=row["revision"],
        deleted=row["deleted"],
        actor=row["actor"],
        reason=row["reason"],
        change_time=row["change_time"],
    )


def _read_template(row: asyncpg.Record) -> Template:
    return Template(
        template_id=row["template_id"],
        default_locale=row["default_locale"],
        is_html=row["is_html"],
        texts=json.loads(row["texts"]),
    )
