"""The calls to the outside world: async, bounded, never touching the database."""

from temporalio import activity

from temporal_workers import contracts
from temporal_workers.activities.database import stub_name
from temporal_workers.contracts import (
    AskShop,
    ChargePayment,
    ChargeResult,
    CheckFraud,
    DispatchParcel,
    DispatchResult,
    FraudResult,
    PackageResult,
    PreparePackage,
    RefundPayment,
    RefundResult,
    ShopResult,
    WithdrawParcel,
    WithdrawResult,
    readable,
)
from temporal_workers.providers.protocols import (
    CarrierProvider,
    FraudProvider,
    PaymentProvider,
    ProviderUnavailable,
    ShopProvider,
)


class FraudCalls:
    def __init__(self, provider: FraudProvider) -> None:
        self._provider = provider

    @activity.defn(name=stub_name(contracts.check_fraud))
    async def check_fraud(self, check: CheckFraud) -> FraudResult:
        answer = await self._provider.check(
            key=check.key, amount_minor=check.amount_minor, currency=check.currency, country=check.country
        )
        if not 0 <= answer.score <= 1:
            raise ProviderUnavailable(f"The fraud check answered with a score of {answer.score}, not one from 0 to 1.")
        return FraudResult(answer.score, readable(answer.reason))


class PaymentCalls:
    def __init__(self, provider: PaymentProvider) -> None:
        self._provider = provider

    @activity.defn(name=stub_name(contracts.charge_payment))
    async def charge_payment(self, charge: ChargePayment) -> ChargeResult:
        answer = await self._provider.charge(key=charge.key, amount_minor=charge.amount_minor, currency=charge.currency)
        return ChargeResult(readable(answer.reference, 80), readable(answer.declined), answer.needs_customer)

    @activity.defn(name=stub_name(contracts.refund_payment))
    async def refund_payment(self, refund: RefundPayment) -> RefundResult:
        reference = await self._provider.refund(
            key=refund.key, of_charge=refund.of_charge, amount_minor=refund.amount_minor, currency=refund.currency
        )
        return RefundResult(readable(reference, 80))


class CarrierCalls:
    def __init__(self, provider: CarrierProvider) -> None:
        self._provider = provider

    @activity.defn(name=stub_name(contracts.prepare_package))
    async def prepare_package(self, package: PreparePackage) -> PackageResult:
        return PackageResult(await self._provider.prepare(key=package.key))

    @activity.defn(name=stub_name(contracts.dispatch_parcel))
    async def dispatch_parcel(self, parcel: DispatchParcel) -> DispatchResult:
        booking = await self._provider.dispatch(key=parcel.key, recipient=parcel.recipient, address=parcel.address)
        return DispatchResult(
            readable(booking.carrier, 60), readable(booking.tracking_number, 80), readable(booking.refused)
        )

    @activity.defn(name=stub_name(contracts.withdraw_parcel))
    async def withdraw_parcel(self, parcel: WithdrawParcel) -> WithdrawResult:
        gone = await self._provider.withdraw(key=parcel.key)
        return (
            WithdrawResult(readable(gone.carrier, 60), readable(gone.tracking_number, 80)) if gone else WithdrawResult()
        )


class ShopCalls:
    def __init__(self, provider: ShopProvider) -> None:
        self._provider = provider

    @activity.defn(name=stub_name(contracts.announce_order))
    async def announce_order(self, ask: AskShop) -> ShopResult:
        return ShopResult(items=await self._provider.received(order_id=str(ask.order_id)))

    @activity.defn(name=stub_name(contracts.check_order))
    async def check_order(self, ask: AskShop) -> ShopResult:
        wrong = await self._provider.validated(order_id=str(ask.order_id), items=ask.items)
        return ShopResult(items=ask.items, wrong=readable(wrong))

    @activity.defn(name=stub_name(contracts.announce_shipment))
    async def announce_shipment(self, ask: AskShop) -> ShopResult:
        return ShopResult(note=await self._provider.shipped(order_id=str(ask.order_id), items=ask.items))
