"""What is wrong with a file of policies is told with its line, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.cli.policies import documents
from headgate.cli.policies.documents import BadPolicyError, parse_document
from headgate.cli.policies.sets import read_policies

HEAD = "apiVersion: headgate/v1\n"

BAD = {
    "an alias": ("a: &x [1]\nb: *x", "2: anchors and aliases"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "2: anchors and aliases"),
    "a tag": ("limits: !!python/object/apply:os.system [ls]", "2: tags are not read"),
    "a tagged text": ("limits: !!str x", "2: tags are not read"),
    "a name twice": ("limits: []\ntoggles: []\nlimits: []", "4: limits: is there twice"),
    "a list as a name": ("[a]: b", "2: a name must be a text"),
    "depth": ("limits: " + "[" * 200 + "]" * 200, "2: nested deeper than 16"),
    "an open list": ("limits: [", "is no YAML"),
    "a second document": ("---\nlimits: []", "2: a second document"),
    "a control character": ("limits: \x07", "is no YAML"),
    "a tab": ("limits:\n\t- x", "is no YAML"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_document_is_refused_with_its_line(name: str) -> None:
    text, words = BAD[name]

    with pytest.raises(BadPolicyError) as refused:
        parse_document("policy.yaml", (HEAD + text).encode())

    assert f"policy.yaml:{words}" in str(refused.value) or (
        words in str(refused.value) and words.startswith("is")
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "must begin with apiVersion"),
        (b"- x", "must begin with apiVersion"),
        (b"limits: []", "1: apiVersion: must be headgate/v1"),
        (b"# x\napiVersion: headgate/v9", "2: apiVersion: must be headgate/v1"),
        (b"\xff\xfe\xfa", "is no UTF-8"),
        (b"#" * (documents.BYTES_MAX + 1), "at most 4,194,304"),
    ],
)
def test_other_files_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(BadPolicyError, match=words):
        parse_document("policy.yaml", data)


WRONG = """\
frob: []
limits:
  - {id: a, metric: calls, cap: .nan, per: day}
  - {id: b, metric: cost, cap: 1e3, per: day}
  - {id: c, metric: calls, cap: 99999999999999999999, per: day}
  - {id: d, metric: pings, cap: 1, per: day}
  - {id: e, metric: calls, cap: 1, per: day, rolling: 1m}
  - {id: f, metric: calls, cap: 1, rolling: 1m, time_zone: UTC, slots: many}
  - {id: a, metric: calls, cap: 1, total: true, valid_from: 0001-01-01T00:00:00+05:00}
  - just a text
  - {id: [], metric: calls, cap: 1, per: day, alert_at: 50, scope: [org]}
toggles:
  - {id: x, enabled: yes, rules: [{org: acme}]}
prices:
  - {provider: ours, model: m, meters: {input: -1, frob: 2}}
  - {meters: {input: 1, output: 1}}
templates:
  - {id: sorry, default_locale: en, format: xml}
routes:
  - {operation: chat, version: 3, candidates: [nothing]}
channels:
  - {id: c, kind: webhook, url: "https://me:secret@host"}
  - {id: d, url: {env: A, file: B}, quiet: "25"}
"""
COMPLAINTS = """\
2: frob: is not known; headgate/v1 has orgs, limits, toggles, prices, templates, routes, channels
4: limits[0].cap: '.nan' is not a number of calls; write it like 1000
5: limits[1].cap: '1e3' is not an amount in US dollars; write it like 12.50
6: limits[2].cap: 99999999999999999999… is too much
7: limits[3].metric: 'pings' is none of calls, cost, tokens, concurrency
8: limits[4]: name one window: per, rolling, refill, total, interval
9: limits[5].time_zone: only goes with per
9: limits[5].slots: 'many' is no whole number
10: limits[6].valid_from: '0001-01-01T00:00:00+05:00' is no instant; write it like 2026-05-01
11: limits[7]: must have names and values
12: limits[8].id: must be a text
12: limits[8].alert_at: must be a list
12: limits[8].scope: must have names and texts
14: toggles[0].enabled: must be true or false
14: toggles[0].rules[0].enabled: must be true or false
16: prices[0].meters.frob: is not known
16: prices[0].meters.input: '-1' is no amount of US dollars, such as 0.15
17: prices[1]: name a provider and a model, or an operation
19: templates[0].texts: required
19: templates[0].format: 'xml' is none of text, html
21: routes[0].candidates[0]: 'nothing' is not PROVIDER/MODEL
21: routes[0].version: is not known in files of policies
23: channels[0].url: is secret: write {env: VARIABLE} or {file: PATH}
24: channels[1].kind: required
24: channels[1].url: is secret: write {env: VARIABLE} or {file: PATH}
24: channels[1].quiet: '25' are no hours; write them like 22:00-07:00
"""


def test_every_wrong_place_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    (file := tmp_path / "policy.yaml").write_text(HEAD + WRONG)

    with pytest.raises(BadPolicyError) as refused:
        read_policies([file])

    told = set(str(refused.value).splitlines())
    missing = {f"{file}:{line}" for line in COMPLAINTS.splitlines()} - told
    assert missing == set()
    assert not any("secret@host" in line for line in told)


def test_a_policy_is_in_one_file_only(tmp_path: Path) -> None:
    text = HEAD + "limits:\n  - {id: a, metric: calls, cap: 1, per: day}\n"
    (tmp_path / "one.yaml").write_text(text)
    (tmp_path / "two.yml").write_text(text)

    with pytest.raises(BadPolicyError) as refused:
        read_policies([tmp_path])

    assert str(refused.value) == (
        f"{tmp_path}/two.yml:3: limits[0]: a is there already, at {tmp_path}/one.yaml:3: limits[0]"
    )
