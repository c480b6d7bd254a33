"""What is somebody's own: views of the queue, and how things are shown; and who tries to be somebody."""

from django.conf import settings
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
        ]

    def __str__(self) -> str:
        return f"{self.network} at {self.at}"
