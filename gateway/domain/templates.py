"""Fallback texts with variables: what may stand in one, and how it is rendered.

The language is what is left of Jinja's when only names, conditions and a few filters are allowed:
no loops, calls, attributes or arithmetic. So a template ends by construction, in time that grows
with its own length and that of its values, which are both bounded. What is not on the lists here
is refused when it is written. The sandbox around it is the second wall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from jinja2 import Template as Compiled
from jinja2 import TemplateError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway.domain.locales import find_locale

TEXT_LENGTH_MAX: Final = 4_096
OUTPUT_LENGTH_MAX: Final = 8_192
# Names, literals, filters and conditions of one text, and how deep they may be nested.
NODE_COUNT_MAX: Final = 256
DEPTH_MAX: Final = 12
VARIABLE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Texts that are kept ready to render.
_READY_COUNT: Final = 4_096
_TRUNCATE_MIN: Final = 4

# Every node that may stand in a template; whatever a later Jinja adds is refused.
_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Filter,
    nodes.Test,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
)
_TESTS: Final = frozenset({"defined", "undefined"})
_COMPARISONS: Final = frozenset({"eq", "ne"})
# Filters without arguments; `default` and `truncate` take some.
_PLAIN_FILTERS: Final = frozenset({"upper", "lower", "capitalize", "trim", "escape", "e"})
_FILTERS: Final = _PLAIN_FILTERS | {"default", "truncate"}
# Names to which Jinja gives a meaning of its own.
_RESERVED: Final = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
_WORDS: Final = {
    "For": "a loop",
    "Getattr": "an attribute",
    "Getitem": "an item",
    "Call": "a call",
    "Macro": "a macro",
    "CallBlock": "a call",
    "Include": "another template",
    "Import": "another template",
    "FromImport": "another template",
    "Extends": "another template",
    "Assign": "an assignment",
    "AssignBlock": "an assignment",
}


class BadTemplateError(Exception):
    """The text is no template that may be rendered. One line: where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One fallback text in all its languages."""

    template_id: str
    # Whose text is taken if none fits.
    default_locale: str
    # Values are escaped for HTML.
    is_html: bool
    texts: Mapping[str, str]

    def render(self, locale: str, values: Mapping[str, str]) -> str | None:
        """Returns the text that fits the locale best. None: it cannot be rendered."""
        text = self.texts[find_locale(self.texts, locale, default=self.default_locale)]
        return render(text, values, is_html=self.is_html)


class _Missing(Undefined):
    """A variable that nobody gave: no text at all, wherever it stands."""


def check(text: str) -> None:
    """Raises BadTemplateError unless the text may be a template."""
    for count, (node, depth) in enumerate(_walk(_parse(text)), start=1):
        if count > NODE_COUNT_MAX:
            raise BadTemplateError(f"has more than {NODE_COUNT_MAX} expressions")
        problem = _find_problem(node)
        if depth > DEPTH_MAX:
            problem = f"is nested deeper than {DEPTH_MAX}"
        if problem:
            raise BadTemplateError(f"line {node.lineno or 1}: {problem}")


def variables_of(text: str) -> list[str]:
    """Returns the names of the variables that a checked text uses, in order."""
    return sorted(meta.find_undeclared_variables(_parse(text)))


def render(text: str, values: Mapping[str, str], *, is_html: bool) -> str | None:
    """Returns the text with its values, cut at its bound. None: it cannot be rendered.

    A value that is missing is no text. Whoever stored a text that `check` would refuse gets None.
    """
    try:
        pieces = prepare(text, is_html=is_html).generate(**values)
        return _join(pieces)
    # Whatever it is, the answer must not suffer from its words.
    except Exception:  # noqa: BLE001
        return None


def _join(pieces: Iterator[str]) -> str:
    done: list[str] = []
    length = 0
    for piece in pieces:
        done.append(piece)
        length += len(piece)
        if length > OUTPUT_LENGTH_MAX:
            # Joined, not added: what was escaped would escape what it is added to.
            return "".join(done)[: OUTPUT_LENGTH_MAX - 1] + "…"
    return "".join(done)


@lru_cache(maxsize=_READY_COUNT)
def prepare(text: str, *, is_html: bool) -> Compiled:
    """Returns a text ready to render; takes a moment the first time. Raises BadTemplateError."""
    check(text)
    return _environment(is_html=is_html).from_string(text)


@lru_cache(maxsize=2)
def _environment(*, is_html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(autoescape=is_html, undefined=_Missing, cache_size=0)
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in _FILTERS}
    made.tests = {name: made.tests[name] for name in _TESTS | _COMPARISONS}
    return made


def _parse(text: str) -> nodes.Template:
    try:
        return _environment(is_html=False).parse(text)
    except TemplateError as error:
        line = getattr(error, "lineno", 1)
        raise BadTemplateError(f"line {line}: {error.message}") from None
    except (RecursionError, ValueError, OverflowError):
        raise BadTemplateError("is nested too deep, or has a number that is none") from None


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Yields every node with its depth, without recursion of its own."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]


def _find_problem(node: nodes.Node) -> str:
    """Returns what is wrong with a node by itself; empty: nothing."""
    if not isinstance(node, _NODES):
        name = type(node).__name__
        return f"{_WORDS.get(name, name)} may not stand here; names, filters and if may"
    if isinstance(node, nodes.Name):
        if node.ctx != "load" or not VARIABLE_NAME.fullmatch(node.name) or node.name in _RESERVED:
            return f"{node.name!r} may not be a variable; a-z, 0-9 and _ may, from a letter on"
    elif isinstance(node, nodes.Filter):
        return _find_problem_of_filter(node)
    elif isinstance(node, nodes.Test):
        if node.name not in _TESTS or node.args:
            return f"the test {node.name!r} is unknown; there are {', '.join(sorted(_TESTS))}"
    elif isinstance(node, nodes.Operand) and node.op not in _COMPARISONS:
        return "compares by == and != only"
    return ""


def _find_problem_of_filter(node: nodes.Filter) -> str:
    if node.name not in _FILTERS:
        return f"the filter {node.name!r} is unknown; there are {', '.join(sorted(_FILTERS))}"
    if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
        return f"the filter {node.name!r} takes its arguments by position, from an expression"
    count = len(node.args)
    if node.name == "default":
        return "" if count in (1, 2) else "the filter 'default' takes one text, and true after it"
    if node.name == "truncate":
        if count == 1 and _is_length(node.args[0]):
            return ""
        return f"the filter 'truncate' takes a length from {_TRUNCATE_MIN} to {TEXT_LENGTH_MAX}"
    return f"the filter {node.name!r} takes no arguments" if count else ""


def _is_length(node: nodes.Expr) -> bool:
    value = node.value if isinstance(node, nodes.Const) else None
    return type(value) is int and _TRUNCATE_MIN <= value <= TEXT_LENGTH_MAX
