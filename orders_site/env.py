"""Typed reading of environment variables. A value that does not parse stops the start with its name."""

import os
import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_bool(name: str, default: bool) -> bool:
    """Read `1`/`true` or `0`/`false`; anything else is refused, so that a typing slip never turns a guard off."""
    raw = os.environ.get(name, "")
    if raw == "":
        return default
    match raw.lower():
        case "1" | "true":
            return True
        case "0" | "false":
            return False
    raise ImproperlyConfigured(f"{name} must be 1, true, 0 or false, not {raw!r}.")


def env_int(name: str, default: int, *, least: int = 0) -> int:
    raw = os.environ.get(name, "")
    if raw == "":
        return default
    try:
        number = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from None
    if number < least:
        raise ImproperlyConfigured(f"{name} must be {least} or more, not {number}.")
    return number


def env_float(name: str, default: float) -> float:
    raw = os.environ.get(name, "")
    if raw == "":
        return default
    try:
        number = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {raw!r}.") from None
    if not 0 <= number < float("inf"):
        raise ImproperlyConfigured(f"{name} must be a finite number of 0 or more, not {raw!r}.")
    return number


def env_duration(name: str, default: str, *, or_never: bool = False) -> timedelta:
    """Read a span such as `45s`, `30m`, `24h` or `2d`; with `or_never` `0` is one of nothing."""
    raw = os.environ.get(name) or default
    if or_never and raw == "0":
        return timedelta(0)
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", raw)
    if not match or int(match[1]) == 0:
        raise ImproperlyConfigured(f"{name} must be a span such as 45s, 30m, 24h or 2d, not {raw!r}.")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def env_key(name: str) -> bytes:
    """Read a key of 32 bytes in base64; empty where there is none. The text of an error does not quote it."""
    return _key(name, os.environ.get(name, ""))


def env_keys(name: str) -> dict[str, bytes]:
    """Read keys of 32 bytes in base64, each with a name: `new:…,old:…`. The text of an error quotes none of them."""
    keys = {}
    for part in env_list(name):
        called, _, text = part.partition(":")
        key = _key(name, text)
        if not called or not called.isascii() or not key:
            raise ImproperlyConfigured(f"{name} must be names with keys, such as 2026:KEY,2025:KEY.")
        if called in keys:
            raise ImproperlyConfigured(f"{name} has two keys called {called!r}.")
        keys[called] = key
    return keys


def _key(name: str, text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b"?"
    if len(key) not in (0, 32):
        raise ImproperlyConfigured(f"{name} must have 32 bytes in base64 for a key.")
    return key


def env_networks(name: str, default: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, or `*` for all."""
    told = env_list(name, default)
    try:
        return [ip_network(part, strict=False) for part in (["0.0.0.0/0", "::/0"] if "*" in told else told)]
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be addresses with commas between, not {', '.join(told)}.") from None


def env_url(name: str, *, such_as: str) -> str:
    """Read an http or https address; empty where there is none. The text of an error does not quote it: it may hold a
    password.
    """
    raw = os.environ.get(name, "")
    try:
        parts = urlsplit(raw)
        well_made = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_made = False
    if raw and not (well_made and raw.isprintable() and " " not in raw):
        raise ImproperlyConfigured(f"{name} must be an address such as {such_as}.")
    return raw


def env_path(name: str, default: Path) -> Path:
    raw = os.environ.get(name, "")
    return Path(raw) if raw else default


def database_from_url(url: str) -> dict[str, object]:
    """Turn `postgresql://user:password@host:port/name?option=…` into Django's DATABASES entry.

    A `host` among the options names a folder with a unix socket, as libpq has it.

    Raises ImproperlyConfigured where the URL is not one of PostgreSQL.
    """
    wrong = ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise wrong
    options: dict[str, object] = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": str(port or ""),
        "OPTIONS": options,
    }


@dataclass(frozen=True)
class MailServer:
    """Where mail goes, in Django's terms; the default keeps none."""

    backend: str = "django.core.mail.backends.dummy.EmailBackend"
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False
    folder: str = ""


_MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


def mail_server_from_url(url: str) -> MailServer:
    """Read `smtp+starttls://user:password@host:587`, `smtps://…`, `smtp://…` in the clear, or `file:///folder`.

    Raises ImproperlyConfigured where it is none of these; the text does not quote the URL, which holds a password.
    """
    if not url:
        return MailServer()
    wrong = ImproperlyConfigured(
        "MAIL_URL must look like smtp+starttls://user:password@host:587, smtps://…, smtp://… or file:///folder."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme == "file" and parts.path.strip("/") and not parts.netloc:
        return MailServer(backend="orders_site.mail_folder.MailFolder", folder=unquote(parts.path))
    if parts.scheme not in _MAIL_PORTS or not parts.hostname or parts.path.strip("/"):
        raise wrong
    return MailServer(
        backend="django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname,
        port=port or _MAIL_PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+starttls",
        tls=parts.scheme == "smtps",
    )


def env_mailbox(name: str, default: str) -> str:
    """Read an e-mail address, alone or as `Name <address>`."""
    raw = os.environ.get(name) or default
    try:
        validate_email(parseaddr(raw)[1])
    except ValidationError:
        raise ImproperlyConfigured(
            f"{name} must be an e-mail address, or look like Name <address>, not {raw!r}."
        ) from None
    if not raw.isprintable():
        raise ImproperlyConfigured(f"{name} must be one line of text, not {raw!r}.")
    return raw
