"""Goods and how many of them are free."""

from collections.abc import Sequence

from django.db.models import F

from orders.models import Product


class ShortStock(Exception):
    """More was to be taken from the free stock than there is."""


def stock_products(*, products: Sequence[Product]) -> None:
    """Add products that are not there yet; those that are keep their name and stock."""
    Product.objects.bulk_create(products, ignore_conflicts=True)


def restock(*, product_id: int, units: int) -> None:
    """Add `units` to the free stock, or take them away where negative, on top of what orders take meanwhile.

    Raises ShortStock where less than that is free.
    """
    if not Product.objects.filter(pk=product_id, stock__gte=-units).update(stock=F("stock") + units):
        raise ShortStock("Orders have taken too much of it meanwhile: the stock cannot go below zero.")
