"""Raw records for whoever keeps the desk running. Nothing that an order consists of can be changed here: what
happens to an order happens in `services`. Only people, and the goods' names, stock and bans, are kept here.

Lists stay quick however long the tables grow: they count no further than they page, sort by an index only, and
search by what is indexed.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from orders import finding
from orders.models import (
    AccountEvent,
    ApiClient,
    Bulk,
    BulkMember,
    Drift,
    Event,
    Heartbeat,
    IdempotencyKey,
    InfoRequest,
    LoyaltyEntry,
    Mail,
    Mention,
    Note,
    Order,
    OrderLine,
    Outbox,
    Payment,
    Preferences,
    Product,
    RejectReason,
    Reservation,
    Review,
    SavedView,
    SecondFactor,
    Shipment,
    SignInTry,
)
from orders.money import format_money
from orders.services import clients, stocking

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Model]
    TabularInline = admin.TabularInline[Model, Order]
    ProductModelAdmin = admin.ModelAdmin[Product]
    ProductModelForm = forms.ModelForm[Product]
    PeopleModelAdmin = UserAdmin[User]
    RowPaginator = Paginator[Model]
else:
    ModelAdmin = ProductModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
    ProductModelForm = forms.ModelForm
    PeopleModelAdmin = UserAdmin
    RowPaginator = Paginator

admin.site.site_header = "Countersign records"
admin.site.site_title = "Countersign records"
admin.site.index_title = "Records"


class CappedPaginator(RowPaginator):
    """Counts up to a cap: what lies deeper is found by searching, not by turning pages."""

    most = 5_000

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.most].count()


class ReadOnly:
    """Looking only, for superusers too."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class Records(ReadOnly, ModelAdmin):
    """A list of records, newest first, found by their order's number."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related: ClassVar[bool | list[str] | tuple[str, ...]] = ("order",)
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    sortable_by = ()
    search_fields: ClassVar[list[str] | tuple[str, ...]] = ("order__number__exact",)
    search_help_text = "The whole number of an order, such as CS-104233."

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("records.css",)}


class Rows(ReadOnly, TabularInline):
    extra = 0
    show_change_link = True


class Lines(Rows):
    model = OrderLine
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("product")


class Reviews(Rows):
    model = Review

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("decided_by")


class Reservations(Rows):
    model = Reservation

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("product")


class Payments(Rows):
    model = Payment


class Shipments(Rows):
    model = Shipment


class Events(Rows):
    model = Event
    exclude = ("user",)


class OutboxRows(Rows):
    model = Outbox


class Mails(Rows):
    model = Mail
    exclude = ("body",)


@admin.register(Order)
class OrderAdmin(Records):
    list_display = ("number", "status", "customer_name", "customer_email", "total", "placed_at", "source", "reference")
    list_filter = ("status", "placed_at")
    list_select_related = False
    ordering = ("-placed_at", "-id")
    search_fields = ("number",)  # what is searched stands in get_search_results
    search_help_text = "Beginnings of words in the number, the reference, the customer's name or e-mail address."
    inlines = (Lines, Reviews, Reservations, Payments, Shipments, Events, Mails, OutboxRows)
    fieldsets = (
        (None, {"fields": ("number", "id", "source", "reference", "placed_at", "decide_within")}),
        ("Where it stands", {"fields": ("status", "status_at", "outcome", "version")}),
        (
            "Customer",
            {
                "fields": (
                    "customer_name",
                    "customer_email",
                    "card_fingerprint",
                    "address_line1",
                    "address_line2",
                    "address_city",
                    "address_region",
                    "address_postal_code",
                    "address_country",
                )
            },
        ),
        ("Money", {"fields": ("total", "total_minor", "currency")}),
    )

    @admin.display(description="total")
    def total(self, order: Order) -> str:
        return format_money(order.total_minor, order.currency)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        query = finding.prefix_query(search_term)
        if query is None:
            return (queryset.none() if search_term else queryset), False
        return queryset.filter(search=query), False


@admin.register(OrderLine)
class OrderLineAdmin(Records):
    list_display = ("order", "position", "product", "quantity", "unit_price_minor")
    list_select_related = ("order", "product")


@admin.register(Review)
class ReviewAdmin(Records):
    list_display = ("order", "opened_at", "due_at", "risk_score", "decision", "decided_by", "decided_at")
    list_filter = ("decision",)
    list_select_related = ("order", "decided_by")


@admin.register(InfoRequest)
class InfoRequestAdmin(Records):
    list_display = ("review", "question", "asked_by", "asked_at", "answer_by", "answered_at")
    list_select_related = ("review", "asked_by")
    search_fields = ("review__order__number__exact",)
    list_filter = (("answered_at", admin.EmptyFieldListFilter),)


@admin.register(RejectReason)
class RejectReasonAdmin(ReadOnly, ModelAdmin):
    show_full_result_count = False
    list_display = ("code", "text", "active")
    ordering = ("code",)


@admin.register(Reservation)
class ReservationAdmin(Records):
    list_display = ("order", "product", "quantity", "state")
    list_filter = ("state",)
    list_select_related = ("order", "product")


@admin.register(Payment)
class PaymentAdmin(Records):
    list_display = ("order", "kind", "amount", "status", "provider_reference", "created_at", "settled_at", "error")
    list_filter = ("kind", "status")
    search_fields = ("order__number__exact", "idempotency_key__exact", "provider_reference__exact")
    search_help_text = "The whole number of an order, an idempotency key, or the provider's reference."

    @admin.display
    def amount(self, payment: Payment) -> str:
        return format_money(payment.amount_minor, payment.currency)


@admin.register(Shipment)
class ShipmentAdmin(Records):
    list_display = ("order", "status", "carrier", "tracking_number", "created_at", "dispatched_at")
    list_filter = ("status",)
    search_fields = ("order__number__exact", "tracking_number__exact")
    search_help_text = "The whole number of an order, or the carrier's tracking number."


@admin.register(LoyaltyEntry)
class LoyaltyEntryAdmin(Records):
    list_display = ("order", "points", "awarded_at")
    list_select_related = ("order",)


@admin.register(Event)
class EventAdmin(Records):
    list_display = ("order", "sequence", "type", "actor_kind", "actor", "at", "payload")
    list_filter = ("actor_kind",)


@admin.register(Outbox)
class OutboxAdmin(Records):
    list_display = ("order", "message", "created_at", "delivered_at", "attempts", "last_error")
    list_filter = (("delivered_at", admin.EmptyFieldListFilter),)


@admin.register(Mail)
class MailAdmin(Records):
    list_display = ("order", "kind", "recipient", "created_at", "sent_at", "next_try_at", "attempts", "last_error")
    list_filter = ("kind", ("sent_at", admin.EmptyFieldListFilter))


@admin.register(Note)
class NoteAdmin(Records):
    list_display = ("order", "author", "text", "written_at", "edited_at")
    list_select_related = ("order", "author")


@admin.register(Mention)
class MentionAdmin(Records):
    list_display = ("note", "user", "at", "seen_at")
    list_select_related = ("note", "user")
    search_fields = ("note__order__number__exact", "user__username__exact")
    search_help_text = "The whole number of an order, or a colleague's name."


@admin.register(Bulk)
class BulkAdmin(Records):
    list_display = ("id", "action", "size", "refused", "made_by", "made_at", "finished_at")
    list_filter = ("action",)
    list_select_related = ("made_by",)
    ordering = ("-made_at", "-id")
    search_fields = ("made_by__username__exact",)
    search_help_text = "The whole name of a user."


@admin.register(BulkMember)
class BulkMemberAdmin(Records):
    list_display = ("bulk", "position", "order", "seen", "result", "why", "at")
    list_filter = ("result",)
    list_select_related = ("bulk", "order")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnly, ModelAdmin):
    show_full_result_count = False
    list_display = ("worker", "queues", "started_at", "seen_at", "temporal_seen_at")
    ordering = ("worker",)


@admin.register(Drift)
class DriftAdmin(ReadOnly, ModelAdmin):
    show_full_result_count = False
    list_display = ("looked_at", "number")


@admin.register(ApiClient)
class ApiClientAdmin(ReadOnly, ModelAdmin):
    """Who may call the API. `create_api_client` lets one in; here it is shut out."""

    show_full_result_count = False
    list_select_related = ("user",)
    fields = list_display = ("name", "scopes", "user", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.change_apiclient")

    @admin.action(description="Revoke the tokens of the selected clients", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiClient]) -> None:
        for client in chosen:
            clients.revoke(client_id=client.pk, at=timezone.now())


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(Records):
    list_display = ("client", "key", "order", "refund", "note", "bulk", "created_at")
    list_select_related = ("client", "order", "refund", "note", "bulk")


class ProductForm(ProductModelForm):
    """Stock is moved by a difference: a number that was read earlier would undo what orders took meanwhile."""

    add_to_stock = forms.IntegerField(
        required=False,
        min_value=-1_000_000_000,
        max_value=1_000_000_000,
        help_text="Units that came in; negative for units that are lost.",
    )

    class Meta:
        model = Product
        fields = ("sku", "name", "forbidden_reason")

    def clean_add_to_stock(self) -> int:
        """Refuse to take away what is not free; the lock holds until the change is written."""
        units: int = self.cleaned_data["add_to_stock"] or 0
        product = Product.objects.select_for_update(no_key=True).filter(pk=self.instance.pk).first()
        free = product.stock if product else 0
        if free + units < 0:
            raise forms.ValidationError(f"Only {free:,} are free.")
        return units


@admin.register(Product)
class ProductAdmin(ProductModelAdmin):
    form = ProductForm
    fields = ("sku", "name", "forbidden_reason", "stock", "add_to_stock")
    list_display = ("sku", "name", "stock", "forbidden_reason")
    list_filter = (("forbidden_reason", admin.EmptyFieldListFilter),)
    search_fields = ("sku", "name")
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def has_delete_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        return ("sku", "stock") if obj else ("stock",)

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        """Write what the form shows and nothing else, so that a reservation made meanwhile stays."""
        obj.save(update_fields=["name", "forbidden_reason"] if change else None)
        stocking.restock(product_id=obj.pk, units=form.cleaned_data["add_to_stock"])

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Keep the number of units in the history."""
        said: list[Any] = super().construct_change_message(request, form, formsets, add)
        units = form.cleaned_data["add_to_stock"]
        return [*said, {"changed": {"fields": [f"stock {units:+}"]}}] if units else said


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class PeopleAdmin(PeopleModelAdmin):
    """Accounts. Rights come from the roles alone; who leaves is deactivated, so that the past keeps its names."""

    list_display = ("username", "first_name", "last_name", "is_active", "is_staff", "last_login")
    list_filter = ("groups", "is_active", "is_staff")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Role", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fixed = ("last_login", "date_joined", *(["username"] if obj else []))
        return fixed if request.user.is_superuser else (*fixed, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody rises by changing the password of somebody above."""
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


@admin.register(Preferences)
class PreferencesAdmin(Records):
    list_display = ("user", "zone", "locale")
    list_select_related = ("user",)
    search_fields = ("user__username__exact",)
    search_help_text = "A person's whole name at sign-in."


@admin.register(SavedView)
class SavedViewAdmin(Records):
    list_display = ("name", "owner", "is_shared", "query", "created_at")
    list_select_related = ("owner",)
    search_fields = ("owner__username__exact", "name__exact")
    search_help_text = "A person's whole name at sign-in, or a view's whole name."


@admin.register(SignInTry)
class SignInTryAdmin(Records):
    list_display = ("network", "at")
    list_select_related = ()
    search_fields = ("network__exact",)
    search_help_text = "A whole address."


@admin.register(SecondFactor)
class SecondFactorAdmin(Records):
    list_display = fields = ("user", "set_up_at")
    list_select_related = ("user",)
    search_fields = ("user__username__exact",)
    search_help_text = "A person's whole name at sign-in."


@admin.register(AccountEvent)
class AccountEventAdmin(Records):
    list_display = ("account", "type", "actor", "reason", "at")
    list_select_related = ("account",)
    search_fields = ("account__username__exact",)
    search_help_text = "A person's whole name at sign-in."


@admin.register(Group)
class RolesAdmin(ReadOnly, GroupAdmin):
    """The roles as `create_roles` made them from the table in `orders.roles`."""
