"""The order's own steps: decode, one service call, encode."""

from datetime import UTC, datetime

from orders.services import (
    drifting,
    fulfilling,
    loyalty,
    paying,
    refunding,
    reviewing,
    screening,
    shipping,
    signalling,
    undoing,
)
from temporal_workers import contracts, looking
from temporal_workers.activities.database import implements
from temporal_workers.contracts import (
    DriftFound,
    FailOrder,
    FindDrift,
    FindRefund,
    FraudQuestion,
    MoneyResult,
    NoteUndoTrouble,
    ObeySignal,
    OrderStep,
    RecallResult,
    RecordCharge,
    RecordDispatchFailure,
    RecordFraudCheck,
    RecordRecall,
    RecordRefund,
    RetryResult,
    SettleRefund,
    SettleReview,
    StandingResult,
    StepResult,
)


@implements(contracts.find_drift)
def find_drift(look: FindDrift) -> DriftFound:
    at = _now()
    return DriftFound(drifting.record(found=looking.look(at=at), at=at))


def _now() -> datetime:
    return datetime.now(UTC)


def _not_before(workflows_clock: datetime | None) -> datetime:
    """Now; never before the instant for which the workflow's timer has fired, whatever our own clock says."""
    return max(_now(), workflows_clock) if workflows_clock else _now()


@implements(contracts.receive_order)
def receive_order(step: OrderStep) -> StepResult:
    return StepResult(reviewing.receive_order(order_id=step.order_id, at=_now()))


@implements(contracts.validate_order)
def validate_order(step: OrderStep) -> StandingResult:
    standing = reviewing.validate_order(order_id=step.order_id, at=_now())
    return StandingResult(standing.status, standing.due_at, standing.remind_at)


@implements(contracts.settle_review)
def settle_review(settle: SettleReview) -> StandingResult:
    standing = reviewing.settle_review(order_id=settle.order_id, at=settle.at)
    return StandingResult(standing.status, standing.due_at, standing.remind_at)


@implements(contracts.obey_signal)
def obey_signal(obey: ObeySignal) -> StepResult:
    return StepResult(
        signalling.obey_signal(
            order_id=obey.order_id,
            action=obey.action,
            actor=obey.actor,
            reason=obey.reason,
            due_at=obey.due_at,
            address=obey.address,
            at=_now(),
        )
    )


@implements(contracts.begin_fraud_check)
def begin_fraud_check(step: OrderStep) -> FraudQuestion:
    question = screening.begin_fraud_check(order_id=step.order_id)
    return FraudQuestion(question.status, question.key, question.amount_minor, question.currency, question.country)


@implements(contracts.record_fraud_check)
def record_fraud_check(record: RecordFraudCheck) -> StepResult:
    if record.no_answer:
        status = screening.record_no_fraud_answer(order_id=record.order_id, error=record.no_answer, at=_now())
    else:
        status = screening.record_fraud_check(
            order_id=record.order_id, score=record.score, reason=record.reason, at=_now()
        )
    return StepResult(status)


@implements(contracts.reserve_stock)
def reserve_stock(step: OrderStep) -> StepResult:
    return StepResult(fulfilling.reserve_stock(order_id=step.order_id, at=_now()))


@implements(contracts.begin_charge)
def begin_charge(step: OrderStep) -> MoneyResult:
    return _money(paying.begin_charge(order_id=step.order_id, at=_not_before(step.at)))


@implements(contracts.record_charge)
def record_charge(record: RecordCharge) -> MoneyResult:
    return _money(
        paying.record_charge(
            order_id=record.order_id,
            reference=record.reference,
            declined=record.declined,
            needs_customer=record.needs_customer,
            at=_not_before(record.at),
        )
    )


@implements(contracts.award_points)
def award_points(step: OrderStep) -> StepResult:
    return StepResult(loyalty.award_points(order_id=step.order_id, at=_now()))


@implements(contracts.complete_order)
def complete_order(step: OrderStep) -> StepResult:
    return StepResult(fulfilling.complete_order(order_id=step.order_id, at=_now()))


@implements(contracts.fail_order)
def fail_order(fail: FailOrder) -> StepResult:
    return StepResult(
        undoing.fail_order(order_id=fail.order_id, reason=fail.reason, unless_charged=fail.unless_charged, at=_now())
    )


@implements(contracts.release_stock)
def release_stock(step: OrderStep) -> StepResult:
    return StepResult(undoing.release_stock(order_id=step.order_id, at=_now()))


@implements(contracts.begin_refund)
def begin_refund(step: OrderStep) -> MoneyResult:
    return _money(undoing.begin_refund(order_id=step.order_id, at=_now()))


@implements(contracts.record_refund)
def record_refund(record: RecordRefund) -> StepResult:
    return StepResult(undoing.record_refund(order_id=record.order_id, reference=record.reference, at=_now()))


@implements(contracts.record_dispatch_failure)
def record_dispatch_failure(record: RecordDispatchFailure) -> RetryResult:
    failed = record.failed
    return _retry(
        shipping.record_dispatch_failure(
            order_id=record.order_id,
            key=failed.key,
            tries=failed.tries,
            reason=failed.reason,
            refused=failed.refused,
            at=_now(),
        )
    )


@implements(contracts.recall_package)
def recall_package(step: OrderStep) -> RecallResult:
    recall = shipping.recall_package(order_id=step.order_id, at=_now())
    return RecallResult(recall.status, recall.withdraw)


@implements(contracts.record_recall)
def record_recall(record: RecordRecall) -> StepResult:
    return StepResult(
        shipping.record_recall(
            order_id=record.order_id, carrier=record.carrier, tracking_number=record.tracking_number, at=_now()
        )
    )


@implements(contracts.note_undo_trouble)
def note_undo_trouble(note: NoteUndoTrouble) -> RetryResult:
    return _retry(
        undoing.note_undo_trouble(
            order_id=note.order_id, entry=note.entry, attempt=note.attempt, error=note.error, at=_now()
        )
    )


@implements(contracts.finish_undo)
def finish_undo(step: OrderStep) -> StepResult:
    return StepResult(undoing.finish_undo(order_id=step.order_id, at=_now()))


@implements(contracts.find_refund)
def find_refund(find: FindRefund) -> MoneyResult:
    return _money(refunding.find_refund(order_id=find.order_id, number=find.number))


@implements(contracts.settle_refund)
def settle_refund(settle: SettleRefund) -> StepResult:
    return StepResult(
        refunding.settle_refund(order_id=settle.order_id, number=settle.number, reference=settle.reference, at=_now())
    )


def _money(move: paying.MoneyMove) -> MoneyResult:
    return MoneyResult(move.status, move.key, move.amount_minor, move.currency, move.of_charge, move.confirm_by)


def _retry(retry: shipping.Retry) -> RetryResult:
    return RetryResult(retry.status, retry.attempt, retry.retry_at)
