"""Who asks, as each request has to know them."""

from functools import lru_cache
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, User

from orders.models import Preferences
from orders.statements import SOMEBODY, Kept, Shape, Statement, as_sql, ask


class Accounts(ModelBackend):
    """Django's own accounts, groups and rights, by two short queries where it would make four."""

    def get_user(self, user_id: Any) -> User | None:
        """With their preferences, which each page needs."""
        user = next(iter(_ACCOUNTS.of(user_id)), None)
        return user if user and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or user_obj.is_superuser or obj is not None:
            return super().get_all_permissions(user_obj, obj)
        known: set[str] | None = vars(user_obj).get("rights")  # as long as this request
        if known is None:
            known = user_obj.rights = {f"{app}.{codename}" for app, codename in ask(_rights_statement(user_obj.pk))}
        return known


_ACCOUNTS = Kept(Shape(User, preferences=Shape(Preferences)), lambda user: User.objects.filter(pk=user), some=SOMEBODY)


@lru_cache(maxsize=1_000)
def _rights_statement(user_id: int) -> Statement:
    own = Permission.objects.filter(user=user_id)
    by_group = Permission.objects.filter(group__user=user_id)
    names = "content_type__app_label", "codename"
    return as_sql(own.order_by().values_list(*names).union(by_group.order_by().values_list(*names)))
