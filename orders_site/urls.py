"""Where everything hangs: sign-in, raw records, the desk."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path, re_path

from orders.api.problems import not_found
from orders.signing_in import SignIn, show_second_factor
from orders.views import records_door

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", SignIn.as_view(), name="login"),
    path("sign-in/second-factor/", show_second_factor, name="second_factor"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("admin/login/", records_door),
    path("admin/", admin.site.urls),
    path("api/v1/", include("orders.api.urls")),
    re_path(r"^api/", not_found),
    path("", include("orders.urls")),
]
