"""What is somebody's own: views of the queue, how things are shown, a second factor; and who tries to be somebody."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class SavedView(models.Model):
    """A filter under a name, as a tab above the queue: of one person, or shared with everybody."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="views")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=1_000, help_text="As the URL has it after the question mark.")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="view_name_once_per_owner"),
            models.UniqueConstraint(fields=["name"], condition=Q(is_shared=True), name="view_name_once_among_shared"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(query=""), name="view_says_something"),
        ]

    def __str__(self) -> str:
        return self.name


class Preferences(models.Model):
    """How one person is shown instants and amounts; who has none is shown them as the desk writes them."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences")
    zone = models.CharField(max_length=60, help_text="An IANA time zone.")
    locale = models.CharField(max_length=30, help_text="A CLDR locale.")

    class Meta:
        ordering = ["user"]
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"{self.zone}, {self.locale}"


class SignInTry(models.Model):
    """A try to sign in that has not succeeded, for as long as it counts against the next one."""

    name_hash = models.CharField(max_length=64, editable=False)
    network = models.GenericIPAddressField(help_text="The address it came from; the first half of those of IPv6.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "sign-in tries"
        indexes = [
            models.Index("network", "at", name="sign_in_try_of_network"),
            models.Index("at", name="sign_in_try_by_age"),
            models.Index("name_hash", "at", name="sign_in_try_of_name"),
        ]

    def __str__(self) -> str:
        return f"{self.network} at {self.at}"


class SecondFactor(models.Model):
    """What somebody has beside a password: who has shown it signs in, and whose is deleted is signed out everywhere."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor")
    secret = models.BinaryField(help_text="Sealed: orders/sealing.py.")
    last_step = models.BigIntegerField(help_text="The period of 30 s whose code was taken last; no earlier one is.")
    recovery_hashes = ArrayField(models.CharField(max_length=64), editable=False)
    set_up_at = models.DateTimeField()

    class Meta:
        ordering = ["user"]

    def __str__(self) -> str:
        return f"of {self.user}"


class AccountEvent(models.Model):
    """What happened to how an account is guarded, for ever: a trigger refuses change and deletion."""

    class Type(models.TextChoices):
        SET_UP = "set_up", "second factor set up"
        RECOVERED = "recovered", "signed in with a recovery code"
        RESET = "reset", "second factor reset"

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="account_events")
    type = models.CharField(max_length=20, choices=Type.choices)
    actor = models.CharField(max_length=150, help_text="As they were called then.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        db_index=False,
        help_text="Whose account it was done with; at the command line nobody's.",
    )
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(type="reset") | ~Q(reason=""), name="account_event_says_why")
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.get_type_display()}"
