"""The parts of accounting that staff correct, compare and write out the books by."""

from __future__ import annotations

from typing import Final

from chassis.database import Pool
from chassis.process import Process
from chassis.server import ServiceTokenAuthenticator
from headgate.api.accounting.v1 import books_pb2_grpc
from services.accounting.alerts.price_faults import PriceFaults
from services.accounting.books.corrections import Corrections
from services.accounting.books.exports import Exports
from services.accounting.books.reconciliation import Reconciliation
from services.accounting.books.repricing import Repricing
from services.accounting.books.servicer import BookServicer
from services.accounting.books.statements import Statements
from services.accounting.config import AccountingSettings
from services.accounting.ledger import Ledger
from services.accounting.prices import Prices

BOOK_SERVICE: Final = "headgate.api.accounting.v1.BookService"


def add_books(
    process: Process,
    settings: AccountingSettings,
    *,
    pool: Pool,
    ledger: Ledger,
    prices: Prices,
) -> None:
    """Adds the servicer."""
    process.server.add(
        books_pb2_grpc.add_BookServiceServicer_to_server,
        BookServicer(
            ledger=ledger,
            prices=prices,
            corrections=Corrections(pool),
            repricing=Repricing(pool, prices),
            reconciliation=Reconciliation(pool, prices),
            exports=Exports(pool),
            statements=Statements(pool),
            price_faults=PriceFaults(pool),
        ),
        service_name=BOOK_SERVICE,
        authenticate=ServiceTokenAuthenticator(settings.service_token),
    )
