"""What has to change so that what is in force is what files say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headgate.cli.policies.documents import BadPolicyError
from headgate.cli.policies.sets import KINDS, Member, PolicySet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headgate.cli.policies.kinds import Kind
    from headgate.cli.session import Session


@dataclass(frozen=True)
class Write:
    """A member of a file that is not in force so."""

    member: Member
    # Complete, to be sent.
    message: Any
    # By field of the file, what it was and what it shall be; None: not there.
    fields: Mapping[str, tuple[Any, Any]]
    is_new: bool


@dataclass(frozen=True)
class Extra:
    """What is in force and in no file, though a file has a section of its kind."""

    kind: Kind[Any]
    message: Any

    @property
    def key(self) -> str:
        """Its name among those of its kind."""
        return str(self.kind.key(self.message))


@dataclass(frozen=True)
class Plan:
    """All that differs."""

    writes: list[Write] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.writes or self.extras)


def make_plan(session: Session, wanted: PolicySet) -> Plan:
    """Compares files with what is in force. Raises BadPolicyError for what can't be completed."""
    plan, wrong = Plan(), []
    for name, kind in KINDS.items():
        members = wanted.members.get(name)
        if members is None:
            continue
        known = {str(kind.key(each)): each for each in kind.fetch(session)}
        for key, member in members.items():
            try:
                write = _compare(member, known.get(key))
            except ValueError as error:
                wrong.append(member.complain("", str(error)))
                continue
            if write is not None:
                plan.writes.append(write)
        plan.extras.extend(
            Extra(kind, message) for key, message in sorted(known.items()) if key not in members
        )
    if wrong:
        raise BadPolicyError("\n".join(wrong))
    return plan


def _compare(member: Member, known: Any) -> Write | None:
    kind = member.kind
    message = kind.complete(member.message, known)
    before = {} if known is None else kind.write(known)
    after = kind.write(message)
    fields = {
        name: (before.get(name), after.get(name))
        for name in {**after, **before}
        if before.get(name) != after.get(name)
    }
    return Write(member, message, fields, is_new=known is None) if fields else None
