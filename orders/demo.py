"""A shop's day, made up: products, people and addresses, and the orders that demonstrations are filled with.

Order number n of a seed is always the same, so a stream can be taken up where it was left. The people are
invented, and all but the deliberately dubious have mailboxes in domains that are reserved for examples.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from random import Random

from orders.models import Product
from orders.services.placing import Address, NewLine, NewOrder

SOURCE = "demo-shop"
STOCK_EACH = 5_000

# sku: name, price in euro cents
GOODS = {
    "FLT-100": ("Paper filters, pack of 100", 800),
    "CUP-ESP": ("Espresso cup, stoneware", 1_250),
    "CUP-CAP": ("Cappuccino cup, stoneware", 1_490),
    "BEA-SID": ("Coffee beans Sidamo, 500 g", 1_680),
    "BEA-HUE": ("Coffee beans Huehuetenango, 500 g", 1_740),
    "BEA-DEC": ("Coffee beans decaf, 1 kg", 2_890),
    "CLN-TAB": ("Cleaning tablets, 40 pieces", 1_190),
    "TAM-585": ("Tamper 58.5 mm, walnut", 4_900),
    "JUG-600": ("Milk jug 600 ml, steel", 3_450),
    "SCL-200": ("Scales 2 kg / 0.1 g", 6_900),
    "KET-GOO": ("Gooseneck kettle 0.9 l", 8_900),
    "DRP-V02": ("Pour-over dripper, porcelain", 2_650),
    "AER-TRV": ("Travel press", 3_990),
    "GRI-HAN": ("Hand grinder, steel burrs", 14_900),
    "GRI-HOM": ("Burr grinder, home", 32_900),
    "GRI-BAR": ("Burr grinder, bar 64 mm", 84_900),
    "MOK-006": ("Moka pot, 6 cups", 4_290),
    "BRE-THR": ("Filter brewer, thermal jug", 21_900),
    "ESP-HOM": ("Espresso machine, single boiler", 54_900),
    "ESP-DUO": ("Espresso machine, dual boiler", 128_900),
    "ESP-LEV": ("Lever machine, brass", 174_000),
    "WAT-FIL": ("Water filter cartridge", 3_890),
    "KNO-BOX": ("Knock box, beech", 5_400),
    "APR-LIN": ("Barista apron, linen", 4_600),
    "RST-HOM": ("Drum roaster 250 g", 99_500),
}
RECALLED = "TOR-GAS"
RECALLED_GOODS = ("Gas burner for siphons", 7_900)
RECALL = "recalled by its maker, the valve leaks"
SCARCE = "GRI-NUM"
SCARCE_GOODS = ("Hand grinder, numbered edition", 9_900)
SCARCE_STOCK = 1

PRICE_LEVEL = {"EUR": 1.0, "GBP": 0.86, "USD": 1.12, "CHF": 0.96}


@dataclass(frozen=True)
class Country:
    """Where customers live: {n} in a street is a house number. A place is postal code, city and region."""

    code: str
    currency: str
    given: Sequence[str]
    family: Sequence[str]
    streets: Sequence[str]
    places: Sequence[tuple[str, str, str]]
    floors: Sequence[str] = ()


COUNTRIES = (
    Country(
        "DE",
        "EUR",
        ("Anke", "Jonas", "Katharina", "Matthias", "Svenja", "Torben", "Ulrike", "Henning", "Miriam", "Yusuf"),
        ("Brandt", "Hoffmann", "Jäger", "Krüger", "Lorenz", "Möller", "Peters", "Schröder", "Vogt", "Öztürk"),
        ("Lindenstraße {n}", "Am Mühlenbach {n}", "Schillerweg {n}a", "Kastanienallee {n}"),
        (("20357", "Hamburg", ""), ("50674", "Köln", ""), ("04109", "Leipzig", ""), ("79098", "Freiburg", "")),
    ),
    Country(
        "AT",
        "EUR",
        ("Elisabeth", "Florian", "Johanna", "Lukas", "Theresa", "Valentin", "Martina", "Stefan"),
        ("Gruber", "Huber", "Leitner", "Pichler", "Steiner", "Wallner", "Eder", "Moser"),
        ("Neubaugasse {n}/7", "Am Graben {n}", "Kirchengasse {n}"),
        (("1070", "Wien", ""), ("8010", "Graz", ""), ("6020", "Innsbruck", "")),
    ),
    Country(
        "FR",
        "EUR",
        ("Camille", "Étienne", "Inès", "Julien", "Maëlle", "Olivier", "Pauline", "Rémi", "Sandrine", "Karim"),
        ("Aubert", "Besson", "Delaunay", "Fournier", "Girard", "Lemoine", "Marchand", "Roussel", "Haddad"),
        ("{n} rue des Lilas", "{n} avenue de la Gare", "{n} bis, quai des Tanneurs"),
        (("69007", "Lyon", ""), ("44000", "Nantes", ""), ("31000", "Toulouse", ""), ("75011", "Paris", "")),
        ("Bâtiment B", "3e étage"),
    ),
    Country(
        "NL",
        "EUR",
        ("Anouk", "Bram", "Femke", "Joris", "Lotte", "Maarten", "Sanne", "Willem", "Fatima"),
        ("Bakker", "de Boer", "Dijkstra", "van den Berg", "Kuiper", "Smit", "Visser", "Bouzid"),
        ("Oude Singel {n}", "Molenstraat {n}", "Westerkade {n}-II"),
        (("2312 RA", "Leiden", ""), ("3511 LX", "Utrecht", ""), ("9711 HN", "Groningen", "")),
    ),
    Country(
        "IT",
        "EUR",
        ("Alessia", "Bruno", "Chiara", "Davide", "Elena", "Marco", "Silvia", "Tommaso"),
        ("Bellini", "Conti", "Ferrari", "Gallo", "Marchetti", "Rinaldi", "Sartori", "Villa"),
        ("Via Garibaldi {n}", "Corso Cavour {n}", "Vicolo del Pozzo {n}"),
        (("40121", "Bologna", "BO"), ("10123", "Torino", "TO"), ("37121", "Verona", "VR")),
        ("Scala A, interno 5",),
    ),
    Country(
        "ES",
        "EUR",
        ("Aitana", "Carlos", "Iñaki", "Lucía", "Marta", "Nuria", "Pablo", "Sergio"),
        ("Castillo", "Domínguez", "Ibáñez", "Molina", "Navarro", "Prieto", "Serrano", "Vidal"),
        ("Calle Mayor, {n}", "Avenida del Puerto, {n}", "Plaza de la Fuente, {n}"),
        (("46001", "Valencia", "Valencia"), ("41004", "Sevilla", "Sevilla"), ("48005", "Bilbao", "Bizkaia")),
        ("3.º B", "1.º izquierda"),
    ),
    Country(
        "IE",
        "EUR",
        ("Aoife", "Cian", "Declan", "Fiona", "Niamh", "Oisín", "Róisín", "Seán"),
        ("Byrne", "Doyle", "Fitzgerald", "Kavanagh", "Nolan", "O'Connor", "O'Sullivan", "Walsh"),
        ("{n} Harbour Road", "{n} Chapel Lane", "{n} The Green"),
        (
            ("D08 X2A3", "Dublin 8", "Co. Dublin"),
            ("T12 W8P4", "Cork", "Co. Cork"),
            ("H91 K5T2", "Galway", "Co. Galway"),
        ),
    ),
    Country(
        "GB",
        "GBP",
        ("Alice", "Callum", "Eleanor", "George", "Imogen", "Nadia", "Oliver", "Priya", "Rhys", "Tom"),
        ("Ashworth", "Barnes", "Campbell", "Davies", "Hughes", "Khan", "Patel", "Thornton", "Whitfield"),
        ("{n} Station Road", "{n} Victoria Terrace", "{n} Mill Lane", "{n} Church Street"),
        (
            ("LS6 3HN", "Leeds", ""),
            ("BS6 5QA", "Bristol", ""),
            ("EH9 1JR", "Edinburgh", ""),
            ("CF11 9LJ", "Cardiff", ""),
            ("SE15 4TW", "London", ""),
        ),
        ("Flat 2", "Flat 14", "The Old Dairy"),
    ),
    Country(
        "US",
        "USD",
        ("Andre", "Claire", "Daniel", "Grace", "Hannah", "Luis", "Marcus", "Naomi", "Rachel", "Wei"),
        ("Alvarez", "Brooks", "Chen", "Donnelly", "Foster", "Jefferson", "Kowalski", "Nguyen", "Whitaker"),
        ("{n}12 Maple Avenue", "{n}40 Sycamore Street", "{n}05 NE Alder Court"),
        (
            ("97214", "Portland", "OR"),
            ("55408", "Minneapolis", "MN"),
            ("78704", "Austin", "TX"),
            ("02139", "Cambridge", "MA"),
            ("80205", "Denver", "CO"),
        ),
        ("Apt 4B", "Unit 210"),
    ),
    Country(
        "CH",
        "CHF",
        ("Beat", "Corinne", "Fabienne", "Luca", "Regula", "Reto", "Simone", "Urs"),
        ("Ammann", "Bianchi", "Favre", "Gerber", "Keller", "Rochat", "Steffen", "Zürcher"),
        ("Seestrasse {n}", "Rosenweg {n}", "Untere Gasse {n}"),
        (("8002", "Zürich", "ZH"), ("3011", "Bern", "BE"), ("4051", "Basel", "BS"), ("6003", "Luzern", "LU")),
    ),
)


# Where the simulated carrier does not go.
STATION = Country(
    "AQ",
    "EUR",
    ("Ingrid", "Kjell", "Marit", "Tor"),
    ("Aasen", "Hauge", "Lunde", "Nygård"),
    ("Winter Station, hut {n}",),
    (("", "South Pole", ""),),
)


SPELLED_OUT = {ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("'"): "", ord(" "): "."}


class Kind(Enum):
    """What is remarkable about an order, with the range of its total in whole units of its currency."""

    SMALL = (8, 245)
    FIRST = (260, 960)
    LARGE = (1_010, 6_000)
    DUBIOUS = (520, 980)
    FORBIDDEN = (60, 400)
    SHORT = (160, 245)
    STRANDED = (9, 240)


# Two in three need a decision; the policy lets the small ones pass and stops the forbidden one. In every other round
# two of the small ones come to need help: one of something of which there is too little, one to a place out of reach.
ROUND = (
    Kind.LARGE,
    Kind.FIRST,
    Kind.SMALL,
    Kind.LARGE,
    Kind.FIRST,
    Kind.DUBIOUS,
    Kind.LARGE,
    Kind.FIRST,
    Kind.SMALL,
    Kind.LARGE,
    Kind.FORBIDDEN,
    Kind.FIRST,
    Kind.SMALL,
    Kind.LARGE,
)
HELPLESS = {8: Kind.STRANDED, 12: Kind.SHORT}
RHYTHM = (*(HELPLESS.get(place, kind) for place, kind in enumerate(ROUND)), *ROUND)

# None is the desk's own deadline. Two in the rhythm are close, so that a countdown is seen to run out.
DEADLINES = tuple(
    timedelta(minutes=minutes) if minutes else None
    for minutes in (240, 45, 0, 12, 480, 90, 5, 0, 120, 30, 60, 720, 20, 180)
)


def products() -> list[Product]:
    """The shop's goods, one of which may not be sold, and one of which there is too little."""
    return [
        *(Product(sku=sku, name=name, stock=STOCK_EACH) for sku, (name, _) in GOODS.items()),
        Product(sku=RECALLED, name=RECALLED_GOODS[0], stock=STOCK_EACH, forbidden_reason=RECALL),
        Product(sku=SCARCE, name=SCARCE_GOODS[0], stock=SCARCE_STOCK),
    ]


def new_order(n: int, *, seed: int, placed_at: datetime) -> NewOrder:
    """Make up order number `n` of the stream that belongs to `seed`."""
    rng = Random(f"{seed}:{n}")  # noqa: S311 - a made-up order, not a secret
    kind = RHYTHM[n % len(RHYTHM)]
    country = STATION if kind is Kind.STRANDED else COUNTRIES[7 * n % len(COUNTRIES)]
    name = f"{rng.choice(country.given)} {rng.choice(country.family)}"
    return NewOrder(
        source=SOURCE,
        reference=f"{seed}-{n:06}",
        customer_name=name,
        customer_email=_mailbox(name, kind, rng),
        card_fingerprint=_card(n, kind, seed),
        address=_address(country, rng),
        currency=country.currency,
        lines=_basket(kind, country.currency, rng),
        placed_at=placed_at,
        decide_within=DEADLINES[n % len(DEADLINES)],
    )


def _mailbox(name: str, kind: Kind, rng: Random) -> str:
    spelled = name.lower().translate(SPELLED_OUT)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    if kind is Kind.DUBIOUS:
        return f"{plain.partition('.')[0]}{rng.randrange(1_000, 10_000)}@guerrillamail.com"
    return f"{plain}@{rng.choice(('example.com', 'example.net', 'example.org'))}"


def _card(n: int, kind: Kind, seed: int) -> str:
    """Most have a card of their own; the dubious ones share a few, which is how they are found out."""
    rng = Random(f"card:{seed}:{n % 2 if kind is Kind.DUBIOUS else n}")  # noqa: S311 - a made-up card
    return f"card_{rng.getrandbits(64):016x}"


def _address(country: Country, rng: Random) -> Address:
    postal_code, city, region = rng.choice(country.places)
    return Address(
        country=country.code,
        line1=rng.choice(country.streets).format(n=rng.randrange(1, 99)),
        line2=rng.choice(country.floors) if country.floors and rng.random() < 0.4 else "",
        city=city,
        region=region,
        postal_code=postal_code,
    )


def _basket(kind: Kind, currency: str, rng: Random) -> list[NewLine]:
    """Fill a basket up to a total that is drawn from the kind's range, evenly over its orders of magnitude."""
    least, most = (100 * units for units in kind.value)
    while True:
        lines: list[NewLine] = []
        most_lines = rng.randint(2, 6)
        room = int(math.exp(rng.uniform(math.log(least), math.log(most))))
        if kind is Kind.FORBIDDEN:
            lines.append(NewLine(RECALLED, 1, _price(RECALLED_GOODS[1], currency)))
        if kind is Kind.SHORT:
            lines.append(NewLine(SCARCE, SCARCE_STOCK + 1, _price(SCARCE_GOODS[1], currency)))
        for sku in rng.sample(list(GOODS), k=len(GOODS)):
            price = _price(GOODS[sku][1], currency)
            left = room - sum(line.quantity * line.unit_price_minor for line in lines)
            if price <= left and len(lines) < most_lines:
                lines.append(NewLine(sku, rng.randint(1, min(4, left // price)), price))
        if least <= sum(line.quantity * line.unit_price_minor for line in lines) <= most:
            return lines


def _price(cents: int, currency: str) -> int:
    """What a product costs in `currency`, in minor units, rounded to ten of them."""
    return round(cents * PRICE_LEVEL[currency] / 10) * 10
