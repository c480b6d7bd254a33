from django.urls import path

from orders import answering, bulks, deciding, live, noting, one_order, people, views, webhooks

app_name = "orders"

urlpatterns = [
    path("", views.queue, name="queue"),
    path("orders/", views.orders, name="orders"),
    path("orders/<uuid:order_id>/", views.order, name="order"),
    path("orders/<uuid:order_id>/approve/", deciding.approve, name="approve"),
    path("orders/<uuid:order_id>/reject/", deciding.reject, name="reject"),
    path("orders/<uuid:order_id>/refund/", deciding.refund, name="refund"),
    path("orders/<uuid:order_id>/extend/", deciding.extend, name="extend"),
    path("orders/<uuid:order_id>/retry/", deciding.retry, name="retry"),
    path("orders/<uuid:order_id>/change_address/", deciding.change_address, name="change_address"),
    path("orders/<uuid:order_id>/cancel/", deciding.cancel, name="cancel"),
    path("me/", people.me, name="me"),
    path("me/preferences/", people.prefer, name="prefer"),
    path("team/", people.team, name="team"),
    path("roles/", people.roles, name="roles"),
    path("orders/<uuid:order_id>/timeline/", one_order.timeline_of, name="timeline"),
    path("orders/<uuid:order_id>/note/", deciding.note, name="note"),
    path("orders/<uuid:order_id>/edit_note/", deciding.edit_note, name="edit_note"),
    path("mentions/", noting.mentions, name="mentions"),
    path("bulk/", bulks.bulks, name="bulks"),
    path("bulk/preview/", bulks.preview, name="preview_bulk"),
    path("bulk/begin/", bulks.begin, name="begin_bulk"),
    path("bulk/<uuid:bulk_id>/", bulks.bulk, name="bulk"),
    path("live/bulk/<uuid:bulk_id>/", bulks.catch_up_bulk, name="catch_up_bulk"),
    path("orders/<uuid:order_id>/ask/", deciding.ask, name="ask"),
    path("orders/<uuid:order_id>/snooze/", deciding.snooze, name="snooze"),
    path("orders/<uuid:order_id>/resume/", deciding.resume, name="resume"),
    path("answer/<str:token>/", answering.answer, name="answer"),
    path("live/", live.stream, name="live"),
    path("live/queue/", views.catch_up_queue, name="catch_up_queue"),
    path("live/orders/", views.catch_up_orders, name="catch_up_orders"),
    path("live/orders/<uuid:order_id>/", views.catch_up_order, name="catch_up_order"),
    path("live/desk/", views.catch_up_desk, name="catch_up_desk"),
    path("webhooks/payments", webhooks.payments, name="payment_webhook"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("healthz", views.healthz, name="healthz"),
]
