"""Books reports: prices each, gathers concurrent ones into one transaction, isolates bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

import structlog
from opentelemetry.metrics import Meter as MetricMeter

from chassis.database import is_data_error, is_retryable, is_unavailable
from chassis.errors import DeadlineTooShort, StoreUnavailable
from headgate.batching import Batcher
from services.accounting.domain.pricebook import PriceBook
from services.accounting.domain.pricing import AmountTooLargeError, charge
from services.accounting.domain.usage import (
    Booking,
    Charge,
    CostBasis,
    Entry,
    Refusal,
    Report,
)
from services.accounting.prices import Prices
from services.accounting.store import LogWriter, Result

# Counts reports by result: booked, replayed, unpriced, id_reused, too_late, ...
REPORTS_METRIC: Final = "headgate.accounting.reports"
# Models without a price that were logged; the log names each once, and no more than these.
_UNPRICED_MODELS_MAX: Final = 1_000

Answer: TypeAlias = Booking | Refusal | AmountTooLargeError | Exception

log = structlog.get_logger()


class Ledger:
    """Books reports of attempts, each once."""

    def __init__(self, *, writer: LogWriter, prices: Prices, metrics: MetricMeter) -> None:
        self._writer = writer
        self._prices = prices
        self._reports = metrics.create_counter(
            REPORTS_METRIC, unit="{report}", description="Reports by what became of them."
        )
        self._batcher: Batcher[Entry, Result] = Batcher(self._write)
        self._unpriced: set[tuple[str, str]] = set()

    async def record(
        self, reports: Sequence[Report], *, deadline: float | None = None
    ) -> list[Answer]:
        """Returns for each report, in order, its booking or why it was not booked.

        An Exception among the answers other than AmountTooLargeError says that the database failed
        that report: whether it was booked is unknown, and to repeat it is safe. `deadline` is in
        loop time; a report that waits longer is not begun.
        """
        answers: list[Answer | None] = [None] * len(reports)
        entries: list[Entry] = []
        places: list[int] = []
        newest = max((report.price_version for report in reports), default=0)
        book = await self._prices.book_of(newest)
        for place, report in enumerate(reports):
            try:
                entries.append(self._price(book, report))
                places.append(place)
            except AmountTooLargeError as error:
                answers[place] = error
        results = await self._batcher.submit_all(entries, deadline=deadline)
        for place, result in zip(places, results, strict=True):
            if isinstance(result, TimeoutError):
                answers[place] = DeadlineTooShort()
            elif isinstance(result, (Booking, Refusal, Exception)):
                answers[place] = result
            else:
                raise result
        final = [answer for answer in answers if answer is not None]
        self._count(final)
        return final

    async def record_stated(self, report: Report, stated_nanos: int | None) -> Answer:
        """Books what staff say was used; at their amount, or priced if they name none."""
        if stated_nanos is None:
            (answer,) = await self.record([report])
            return answer
        entry = Entry(report, Charge(stated_nanos, CostBasis.STATED), report.digest())
        (result,) = await self._batcher.submit_all([entry])
        answers: list[Answer] = [result if isinstance(result, Answer) else StoreUnavailable()]
        self._count(answers)
        return answers[0]

    async def aclose(self) -> None:
        """Refuses new reports and returns when all earlier ones are answered."""
        await self._batcher.close()
        await self._writer.close()

    def _price(self, book: PriceBook, report: Report) -> Entry:
        price = book.price_at(
            report.price_version,
            provider=report.provider,
            model=report.model,
            org=report.org,
            operation=report.operation,
        )
        charged = charge(
            price,
            outcome=report.outcome,
            meters=report.meters,
            held_nanos=report.held_nanos,
            service_tier=report.service_tier,
            minute=report.admit_time.hour * 60 + report.admit_time.minute,
            unanswered=report.unanswered,
        )
        if charged.unpriced:
            self._tell_unpriced(report)
        baseline_nanos = _price_baseline(book, report, charged)
        return Entry(report, charged, report.digest(), baseline_nanos)

    def _tell_unpriced(self, report: Report) -> None:
        self._reports.add(1, {"result": "unpriced"})
        key = (report.provider, report.model)
        if key not in self._unpriced and len(self._unpriced) < _UNPRICED_MODELS_MAX:
            self._unpriced.add(key)
            log.warning(
                "usage_without_price",
                provider=report.provider,
                model=report.model,
                price_version=report.price_version,
            )

    def _count(self, answers: Sequence[Answer]) -> None:
        for name, count in Counter(map(_result_name, answers)).items():
            self._reports.add(count, {"result": name})

    async def _write(self, entries: Sequence[Entry]) -> list[Result | Exception]:
        try:
            return [*await self._write_twice(entries)]
        except Exception as error:
            if not is_data_error(error):
                raise
            if len(entries) == 1:
                log.warning("report_refused_by_database", sqlstate=getattr(error, "sqlstate", ""))
                return [Refusal.DATA_ERROR]
        # The values of some member are at fault: halving finds it, and the others get booked.
        middle = len(entries) // 2
        return [*await self._write(entries[:middle]), *await self._write(entries[middle:])]

    async def _write_twice(self, entries: Sequence[Entry]) -> list[Result]:
        try:
            return await self._writer.write(entries)
        except Exception as error:
            if is_retryable(error):
                log.info("batch_repeated", size=len(entries), error=type(error).__name__)
            elif is_unavailable(error):
                # A timeout on our side leaves the connection busy with a statement nobody awaits.
                await self._writer.reset()
                raise StoreUnavailable from error
            else:
                raise
        await self._writer.reset()
        try:
            return await self._writer.write(entries)
        except Exception as error:
            await self._writer.reset()
            if is_unavailable(error):
                raise StoreUnavailable from error
            raise


def _price_baseline(book: PriceBook, report: Report, charged: Charge) -> int | None:
    if report.saved_nanos is not None:
        return report.saved_nanos
    # Only what was used and has a price on both sides can be compared.
    if report.baseline is None or charged.basis is not CostBasis.METERS:
        return None
    provider, model = report.baseline
    price = book.price_at(report.price_version, provider=provider, model=model, org=report.org)
    try:
        baseline = charge(
            price,
            outcome=report.outcome,
            meters=report.meters,
            held_nanos=0,
            service_tier=report.service_tier,
            minute=report.admit_time.hour * 60 + report.admit_time.minute,
        )
    except AmountTooLargeError:
        return None
    return baseline.total_nanos if baseline.basis is CostBasis.METERS else None


def _result_name(answer: Answer) -> str:
    match answer:
        case Booking(first=True):
            return "booked"
        case Booking():
            return "replayed"
        case Refusal():
            return answer.name.lower()
        case AmountTooLargeError():
            return "amount_too_large"
        case _:
            return "store_failed"
