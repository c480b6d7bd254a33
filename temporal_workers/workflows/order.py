"""The order's workflow. Imports the standard library, temporalio, contracts and states; no Django."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError, FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    import temporal_workers.contracts as contracts  # `from … import contracts` is run anew by each sandbox
    from orders.states import MAY_BE_UNDONE, NEEDS_ATTENTION, UNDOING, WAITS_FOR_PEOPLE, Action, Status, Undo, may
    from temporal_workers.contracts import (
        AskShop,
        ChargePayment,
        CheckFraud,
        DispatchFailed,
        FailOrder,
        MoneyResult,
        News,
        NoteUndoTrouble,
        ObeySignal,
        OrderInput,
        OrderResult,
        OrderState,
        OrderStep,
        RecordCharge,
        RecordDispatchFailure,
        RecordFraudCheck,
        RecordRecall,
        RecordRefund,
        RefundPayment,
        SettleReview,
        ShippingInput,
        ShippingResult,
        StandingResult,
        Trouble,
        WithdrawParcel,
    )
    from temporal_workers.workflows.budget import Budget, OutOfBudget
    from temporal_workers.workflows.shipping import ShippingWorkflow
    from temporal_workers.workflows.steps import (
        A_FEW_TIMES,
        DATABASE,
        ONCE,
        OUTSIDE,
        UNTIL_DONE,
        LeftMainRoad,
        stay_on_main_road,
        trying_again,
        words,
    )


# Patches. Each may go, with its old branch, once no order from before it is open or in Temporal's retention.
OBEYS_SIGNALS = "obeys-signals"  # a signal sent by hand asks for the change; before, it changed nothing
SHIPS_AGAIN = "ships-again"  # a shipment ended from outside is begun again; before, its order was undone
FRAUD_CHECK = "fraud-check"  # between approval and stock; before, there was none
LOYALTY_POINTS = "loyalty-points"  # between shipment and end; before, there were none
UNDOES_ALL = "undoes-all"  # there can be; before, only what the run knew of
UNDOES_WHAT_IT_FINDS = "undoes-what-it-finds"  # taken by a run before; before, only where it was being undone already


@dataclass(frozen=True)
class Compensation:
    """What undoes a step. It is registered before the step runs, and does nothing where there is nothing to undo."""

    name: str
    run: Callable[[], Awaitable[None]]


@workflow.defn(name=contracts.ORDER_WORKFLOW)
class OrderWorkflow:
    """The life of an order: received, validated, reviewed by a person where the policy asks for one, then stock
    reserved, card charged, package shipped by a child workflow on a queue of its own, completed.

    The order's row decides; this workflow drives. Every step answers with the row's status. Where that has left the
    main road (rejected, expired, cancelled, failed), what was done is undone, last step first.
    """

    @workflow.init
    def __init__(self, order: OrderInput) -> None:
        self._order = order
        self._step = OrderStep(order.order_id)
        self._ask = AskShop(order.order_id)
        self._outside = trying_again(OUTSIDE, at_once=order.assignment)
        self._until_done = trying_again(UNTIL_DONE, at_once=order.assignment)
        self._budget = Budget(order.budget_seconds)
        self._status = Status.PLACED
        self._due_at: datetime | None = None
        self._remind_at: datetime | None = None
        self._news = False
        self._trouble: Trouble | None = None
        self._compensations: list[Compensation] = []
        self._release = Compensation(Undo.RELEASE, self._release_stock)
        self._refund = Compensation(Undo.REFUND, self._refund_payment)
        self._recall = Compensation(Undo.RECALL, self._recall_package)
        self._all = (self._release, self._refund, self._recall)

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        try:
            await self._take_the_main_road()
        except LeftMainRoad:
            await self._undo()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return OrderResult(self._status)

    async def _take_the_main_road(self) -> None:
        try:
            await self._receive()
            await self._ask_the_shop()
            await self._validate()
            await self._await_decision()
            await self._check_fraud()
            await self._with_help(self._reserve_stock)
            await self._with_help(self._charge)
            await self._with_help(self._ship)
            await self._tell_the_shop()
            await self._award_points()
            await self._complete()
        except OutOfBudget as out:
            why = f" {words(out.__cause__)}" if isinstance(out.__cause__, FailureError) else ""
            await self._fail(f"It was not done within the {self._budget.seconds:g} s that the machine may take.{why}")

    # News, or, sent by hand, a wish. Either way the row decides, and says so when it is asked: see `_await_decision`.

    @workflow.signal
    async def approve(self, news: News | None = None) -> None:
        await self._hear(Action.APPROVE, news)

    @workflow.signal
    async def reject(self, news: News | None = None) -> None:
        await self._hear(Action.REJECT, news)

    @workflow.signal
    async def cancel(self, news: News | None = None) -> None:
        await self._hear(Action.CANCEL, news)

    @workflow.signal
    async def extend(self, news: News | None = None) -> None:
        await self._hear(Action.EXTEND, news)

    @workflow.signal
    async def retry(self, news: News | None = None) -> None:
        await self._hear(Action.RETRY, news)

    @workflow.signal
    async def change_address(self, news: News | None = None) -> None:
        await self._hear(Action.CHANGE_ADDRESS, news)

    async def _hear(self, action: Action, news: News | None) -> None:
        news = news or News()
        if not news.outbox and workflow.patched(OBEYS_SIGNALS):
            wish = ObeySignal(self._order.order_id, action, news.actor, news.reason, news.due_at, news.address)
            await workflow.execute_local_activity(contracts.obey_signal, wish, **DATABASE)
        self._news = True

    @workflow.signal
    def dispatch_failed(self, failed: DispatchFailed) -> None:
        """The shipment's request to be sent again. Its result says the same, and is what `_ship` acts on."""
        self._trouble = Trouble("dispatch", failed.tries + 1, failed.reason)

    @workflow.signal
    def payment_news(self, news: News) -> None:
        self._news = True

    @workflow.query
    def state(self) -> OrderState:
        """What is registered but, by the status, cannot have been done yet, or any more, is not to be undone."""
        stack = [compensation.name for compensation in reversed(self._compensations)]
        to_undo = [name for name in stack if name in MAY_BE_UNDONE.get(self._status, ())]
        return OrderState(self._status, self._due_at, to_undo, self._trouble)

    # The steps

    async def _receive(self) -> None:
        received = await workflow.execute_local_activity(contracts.receive_order, self._step, **DATABASE)
        if received.status in MAY_BE_UNDONE and (received.status in UNDOING or workflow.patched(UNDOES_WHAT_IT_FINDS)):
            # Temporal had lost this order in the middle. Each entry does what is left of it.
            self._compensations += self._all
        self._go_on(received.status)

    async def _ask_the_shop(self) -> None:
        """Only the assignment has a shop that wants to know of the order, and may not want it."""
        if not self._order.assignment or self._status != Status.RECEIVED:
            return
        try:
            with self._budget.bounding(self._outside) as bounds:
                known = await workflow.execute_activity(contracts.announce_order, self._ask, **bounds)
            self._ask = AskShop(self._order.order_id, known.items)
            with self._budget.bounding(self._outside) as bounds:
                checked = await workflow.execute_activity(contracts.check_order, self._ask, **bounds)
        except ActivityError as error:
            await self._fail(f"The shop could not be asked: {words(error)}")
            return
        if checked.wrong:
            await self._fail(f"The shop does not want the order: {checked.wrong}")

    async def _tell_the_shop(self) -> None:
        if self._order.assignment:
            await workflow.execute_activity(contracts.announce_shipment, self._ask, **self._until_done)

    async def _validate(self) -> None:
        standing = await workflow.execute_local_activity(contracts.validate_order, self._step, **DATABASE)
        self._note(standing)

    async def _await_decision(self) -> None:
        """Wait for news, the reminder or the deadline, then ask the row, until it no longer waits for people."""
        while self._status in WAITS_FOR_PEOPLE:
            if self._due_at:
                await self._news_or_time()
            settle = SettleReview(self._order.order_id, workflow.now())
            standing = await workflow.execute_local_activity(contracts.settle_review, settle, **DATABASE)
            self._note(standing)
            if self._status in WAITS_FOR_PEOPLE and not self._due_at:
                await self._news_or_time()  # nobody is asked, so that no deadline ends the wait

    def _note(self, standing: StandingResult) -> None:
        self._due_at, self._remind_at = standing.due_at, standing.remind_at
        self._go_on(standing.status)

    async def _news_or_time(self) -> None:
        next_at = min((at for at in (self._due_at, self._remind_at) if at), default=None)
        left = (next_at - workflow.now()).total_seconds() if next_at else None
        with self._budget.paused(), suppress(TimeoutError):  # The row says whether anybody was faster.
            await workflow.wait_condition(lambda: self._news, timeout=None if left is None else max(left, 0.01))
        self._news = False

    async def _with_help(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step, and take it again each time that a person has put right what was in its way."""
        await step()
        while self._status in NEEDS_ATTENTION:
            self._due_at = None  # the row says it
            await self._await_decision()
            self._budget = Budget(self._order.budget_seconds)
            await step()

    def _register(self, compensation: Compensation) -> None:
        """Have it on the stack, once: a step that is taken again is undone once."""
        if compensation not in self._compensations:
            self._compensations.append(compensation)

    async def _check_fraud(self) -> None:
        """Ask whether the order looks like fraud. A check that is away holds nothing up for long: the row says why."""
        if not workflow.patched(FRAUD_CHECK):
            return
        question = await workflow.execute_local_activity(contracts.begin_fraud_check, self._step, **DATABASE)
        self._go_on(question.status)
        if not question.key:
            return
        check = CheckFraud(question.key, question.amount_minor, question.currency, question.country)
        try:
            with self._budget.bounding(A_FEW_TIMES) as bounds:
                answer = await workflow.execute_activity(contracts.check_fraud, check, **bounds)
            record = RecordFraudCheck(self._order.order_id, answer.score, answer.reason)
        except ActivityError as error:
            record = RecordFraudCheck(self._order.order_id, no_answer=words(error))
        checked = await workflow.execute_local_activity(contracts.record_fraud_check, record, **DATABASE)
        self._go_on(checked.status)

    async def _reserve_stock(self) -> None:
        self._register(self._release)
        reserved = await workflow.execute_local_activity(contracts.reserve_stock, self._step, **DATABASE)
        self._go_on(reserved.status)

    async def _charge(self) -> None:
        """Ask the bank; where it asks the customer, wait for their word or its deadline, and ask the bank once more."""
        self._register(self._refund)
        money = await self._begin_charge()
        while money.key or money.confirm_by:
            if money.confirm_by:
                self._due_at, self._remind_at = money.confirm_by, None
                await self._news_or_time()
                self._due_at = None
                money = await self._begin_charge()
                continue
            ask = ChargePayment(money.key, money.amount_minor, money.currency)
            try:
                with self._budget.bounding(self._outside) as bounds:
                    charge = await workflow.execute_activity(contracts.charge_payment, ask, **bounds)
            except ActivityError as error:
                await self._fail(f"The payment could not be made: {words(error)}", unless_charged=True)
                return  # where the bank has told of it by itself meanwhile, all is well
            record = RecordCharge(
                self._order.order_id, charge.reference, charge.declined, charge.needs_customer, workflow.now()
            )
            money = await workflow.execute_local_activity(contracts.record_charge, record, **DATABASE)
            self._go_on(money.status)

    async def _begin_charge(self) -> MoneyResult:
        step = OrderStep(self._order.order_id, workflow.now())
        money = await workflow.execute_local_activity(contracts.begin_charge, step, **DATABASE)
        self._go_on(money.status)
        return money

    async def _ship(self) -> None:
        """Have it shipped. Where the carrier does not take it, the row says when to try again, or asks people."""
        self._register(self._recall)
        while failed := await self._shipment():
            record = RecordDispatchFailure(self._order.order_id, failed)
            retry = await workflow.execute_local_activity(contracts.record_dispatch_failure, record, **DATABASE)
            self._go_on(retry.status)
            if retry.retry_at is None:
                return
            self._trouble = Trouble("dispatch", retry.attempt, failed.reason, retry.retry_at)
            await self._wait_until(retry.retry_at)
        self._trouble = None

    async def _shipment(self) -> DispatchFailed | None:
        """One shipment; why it failed, if it did. From the point of no return on there is no budget."""
        left = self._budget.left() if may(self._status, Action.FAIL) else 0.0
        try:
            shipped: ShippingResult = await workflow.execute_child_workflow(
                ShippingWorkflow.run,
                ShippingInput(self._order.order_id, self._order.assignment, left),
                id=contracts.shipping_workflow_id(self._order.order_id),
                task_queue=self._order.shipping_queue,
                task_timeout=contracts.TASK_TIMEOUT,
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError):  # the latter: one of an earlier run has yet to end
            ended = DispatchFailed("The shipment was ended from outside.")
            if not workflow.patched(SHIPS_AGAIN):
                await self._fail(ended.reason)
            return ended
        if shipped.out_of_budget:
            raise OutOfBudget
        self._go_on(shipped.status)
        return shipped.failed

    async def _award_points(self) -> None:
        if workflow.patched(LOYALTY_POINTS):
            awarded = await workflow.execute_local_activity(contracts.award_points, self._step, **DATABASE)
            self._go_on(awarded.status)

    async def _complete(self) -> None:
        completed = await workflow.execute_local_activity(contracts.complete_order, self._step, **DATABASE)
        self._go_on(completed.status)

    def _go_on(self, status: Status) -> None:
        self._status = status
        stay_on_main_road(status)

    async def _fail(self, reason: str, *, unless_charged: bool = False) -> None:
        failed = await workflow.execute_local_activity(
            contracts.fail_order, FailOrder(self._order.order_id, reason, unless_charged), **DATABASE
        )
        self._go_on(failed.status)

    # Undoing

    async def _undo(self) -> None:
        """Unwind the stack, last step first. An order that ended with nothing done has an empty one.

        A task that Temporal never heard of may have done more than this run knows of: so all is on it there can be.
        """
        if self._status in UNDOING and workflow.patched(UNDOES_ALL):
            self._compensations = list(self._all)
        while self._compensations and self._status in UNDOING:
            await self._until_undone(self._compensations[-1])
            self._compensations.pop()
        self._compensations.clear()
        if self._status in UNDOING:
            done = await workflow.execute_local_activity(contracts.finish_undo, self._step, **DATABASE)
            self._status = done.status

    async def _until_undone(self, compensation: Compensation) -> None:
        """Try for as long as it takes; the row keeps each failed attempt and says when the next one is."""
        for attempt in count(1):
            try:
                await compensation.run()
            except ActivityError as error:
                note = NoteUndoTrouble(self._order.order_id, compensation.name, attempt, words(error))
                retry = await workflow.execute_local_activity(contracts.note_undo_trouble, note, **DATABASE)
                self._trouble = Trouble(compensation.name, attempt, note.error, retry.retry_at)
                await self._wait_until(retry.retry_at or workflow.now())
            else:
                self._trouble = None
                return

    async def _wait_until(self, at: datetime) -> None:
        await workflow.sleep(max((at - workflow.now()).total_seconds(), 0.01))

    async def _release_stock(self) -> None:
        await workflow.execute_local_activity(contracts.release_stock, self._step, **DATABASE)

    async def _refund_payment(self) -> None:
        money = await workflow.execute_local_activity(contracts.begin_refund, self._step, **DATABASE)
        if not money.key:
            return
        refunded = await workflow.execute_activity(
            contracts.refund_payment,
            RefundPayment(money.key, money.of_charge, money.amount_minor, money.currency),
            **ONCE,
        )
        record = RecordRefund(self._order.order_id, refunded.reference)
        await workflow.execute_local_activity(contracts.record_refund, record, **DATABASE)

    async def _recall_package(self) -> None:
        recall = await workflow.execute_local_activity(contracts.recall_package, self._step, **DATABASE)
        if not recall.withdraw:
            return
        record = RecordRecall(self._order.order_id)
        for key in recall.withdraw:
            gone = await workflow.execute_activity(
                contracts.withdraw_parcel, WithdrawParcel(key), task_queue=self._order.shipping_queue, **ONCE
            )
            if gone.carrier:
                record = RecordRecall(self._order.order_id, gone.carrier, gone.tracking_number)
        await workflow.execute_local_activity(contracts.record_recall, record, **DATABASE)
