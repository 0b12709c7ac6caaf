"""Several queries as one statement."""

from __future__ import annotations

from services.admission.batch_writer import PARTS, USUAL, join

JOINED = (
    "WITH first AS ( UPDATE a SET b = $2, c = $1 ), "
    "second AS ( INSERT INTO d VALUES ($3, $4, $4) ) "
    "DELETE FROM e WHERE f = $5"
)


def test_one_query_stays_as_it_is() -> None:
    assert join([("only", "DELETE FROM a WHERE b = $1;\n")]) == "DELETE FROM a WHERE b = $1"


def test_the_parameters_of_queries_follow_each_other() -> None:
    joined = join(
        [
            ("first", "UPDATE a SET b = $2, c = $1;"),
            ("second", "INSERT INTO d VALUES ($1, $2, $2);"),
            ("third", "DELETE FROM e WHERE f = $1;"),
        ]
    )

    assert joined.split() == JOINED.split()


def test_usual_statements_are_made_in_the_order_of_their_parts() -> None:
    order = [part.query for part in PARTS]

    for names in USUAL:
        assert list(names) == sorted(names, key=order.index)
