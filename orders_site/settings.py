"""Every setting, read from the environment once. `.env.example` lists them all."""

from datetime import timedelta
from pathlib import Path

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from orders_site.env import (
    MailServer,
    database_from_url,
    env_bool,
    env_duration,
    env_float,
    env_int,
    env_key,
    env_keys,
    env_list,
    env_mailbox,
    env_networks,
    env_str,
    env_url,
    mail_server_from_url,
)

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env_bool("DJANGO_DEBUG", False)
SECRET_KEY = env_str("DJANGO_SECRET_KEY")
if not SECRET_KEY:
    raise ImproperlyConfigured("DJANGO_SECRET_KEY must be set to a long random text.")
SECRET_KEY_FALLBACKS = env_list("DJANGO_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env_list("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "csp",
    "orders",
    "temporal_workers",
]

MIDDLEWARE = [
    "orders.metrics.request_metrics",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",  # before the policy: it is for pages
    "csp.middleware.CSPMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "orders_site.middleware.Brotli",
    "orders_site.middleware.NoStore",
    "orders_site.errors.DatabaseAway",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "orders_site.middleware.SignInRequired",
    "orders_site.middleware.SomebodyActs",
    "orders_site.middleware.ViewersConventions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "orders_site.middleware.DesignedNotFound",
]

DEFAULT_EXCEPTION_REPORTER = "orders_site.errors.Reporter"

ROOT_URLCONF = "orders_site.urls"
ASGI_APPLICATION = "orders_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "orders.context.desk",
            ],
        },
    }
]

# The web tier has a fresh thread for each request, so it takes connections from psycopg's pool; worker
# threads live long and keep theirs (temporal_workers.activities closes the broken ones).
DATABASE_POOL = env_bool("DATABASE_POOL", False)
DATABASES = {
    "default": database_from_url(env_str("DATABASE_URL", "postgresql://countersign@127.0.0.1:5432/countersign"))
}
DATABASES["default"] |= {"CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": 0 if DATABASE_POOL else 600}
_database_options: dict[str, object] = DATABASES["default"]["OPTIONS"]  # type: ignore[assignment]
# A page of a list is read before PostgreSQL's helpers would have come to it.
_server_options = f"{_database_options.get('options', '')} -c max_parallel_workers_per_gather=0"
if DATABASE_POOL:
    # A page fails within seconds where the database is away or a row is held, and is back as soon as that is over:
    # the pool's own way is to try again ever more rarely for five minutes.
    _database_options["pool"] = {
        "min_size": 1,
        "max_size": env_int("DATABASE_POOL_SIZE", 10, least=1),
        "timeout": 2,
        "reconnect_timeout": 2,
    }
    _server_options += " -c lock_timeout=1500 -c statement_timeout=5000"
_database_options["options"] = _server_options.strip()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["orders_site.signed_in.Accounts"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "orders:queue"
LOGOUT_REDIRECT_URL = "login"
# How many tries to sign in may fail, of one name from one address and of one address with any names.
SIGN_IN_TRIES = env_int("SIGN_IN_TRIES", 5, least=1)
SIGN_IN_TRIES_OF_ADDRESS = env_int("SIGN_IN_TRIES_OF_ADDRESS", 50, least=1)
SIGN_IN_TRIES_WITHIN = env_duration("SIGN_IN_TRIES_WITHIN", "15m")
# Leads and admins show a second factor; not where the desk is tried out.
SECOND_FACTOR = env_bool("SECOND_FACTOR", not DEBUG)
TRUSTED_PROXIES = env_networks("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en"
TIME_ZONE = env_str("DESK_TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "orders_site.storage.DeskStaticFiles"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False  # only the desk's own pages ask for them

# Secure unless HTTPS is declined for a desk that is reached over loopback only.
HTTPS = env_bool("DJANGO_HTTPS", not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # asked from within
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
CSRF_COOKIE_HTTPONLY = True  # pages hand the token to their script
SESSION_ENGINE = "orders_site.sessions"
SESSION_IDLE = env_duration("SESSION_IDLE", "2h")
SESSION_LONGEST = timedelta(hours=12)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# The API: a thousand lines fit into a third of it. Django itself stops reading at its own, larger limit.
API_BODY_BYTES = 1_000_000

ORDER_PROVIDERS = env_str("ORDER_PROVIDERS", "simulated")
if ORDER_PROVIDERS not in ("simulated", "assignment"):
    raise ImproperlyConfigured(f"ORDER_PROVIDERS must be simulated or assignment, not {ORDER_PROVIDERS!r}.")

# The desk
REVIEW_DEADLINE = env_duration("REVIEW_DEADLINE", "24h")
REVIEW_ESCALATES = env_bool("REVIEW_ESCALATES", False)
REVIEW_ESCALATION_DEADLINE = env_duration("REVIEW_ESCALATION_DEADLINE", "4h")
ATTENTION_DEADLINE = env_duration("ATTENTION_DEADLINE", "24h")
CLAIM_IDLE = env_duration("CLAIM_IDLE", "10m")
CLAIM_HANDED_OVER = env_duration("CLAIM_HANDED_OVER", "4h")
DISPATCH_TRIES = env_int("DISPATCH_TRIES", 3, least=1)
DISPATCH_RETRY_AFTER = env_duration("DISPATCH_RETRY_AFTER", "10s")
UNDO_RETRY_AFTER = env_duration("UNDO_RETRY_AFTER", "1s")
UNDO_RETRY_MOST = timedelta(hours=1)
PAYMENT_CONFIRM_WITHIN = env_duration("PAYMENT_CONFIRM_WITHIN", "1h")
PAYMENT_WEBHOOK_SECRET = env_list("PAYMENT_WEBHOOK_SECRET")  # the new one first, while it is being changed
REVIEW_EVERY_ORDER = env_bool("REVIEW_EVERY_ORDER", False) or ORDER_PROVIDERS == "assignment"
ORDER_BUDGET = env_duration("ORDER_BUDGET", "24h")
STUCK_AFTER = env_duration("STUCK_AFTER", "10m")
STUCK_TRIES = env_int("STUCK_TRIES", 20, least=1)
RECONCILE_EVERY = env_duration("RECONCILE_EVERY", "10m", or_never=True)

# The fraud check: over the limit an order fails; where it gives no answer, the approval stands or the order fails.
FRAUD_LIMIT = env_float("FRAUD_LIMIT", 0.9)
if FRAUD_LIMIT > 1:
    raise ImproperlyConfigured(f"FRAUD_LIMIT must be from 0 to 1, not {FRAUD_LIMIT}.")
FRAUD_UNANSWERED = env_str("FRAUD_UNANSWERED", "pass")
if FRAUD_UNANSWERED not in ("pass", "fail"):
    raise ImproperlyConfigured(f"FRAUD_UNANSWERED must be pass or fail, not {FRAUD_UNANSWERED!r}.")

AUDIT_SIGNING_KEY = env_key("AUDIT_SIGNING_KEY")

# The engine. The address and the like are read by temporalio.envconfig: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, …
TEMPORAL_UI_URL = env_str("TEMPORAL_UI_URL")
TEMPORAL_NAMESPACE = env_str("TEMPORAL_NAMESPACE", "default")
TEMPORAL_PAYLOAD_KEYS = env_keys("TEMPORAL_PAYLOAD_KEYS")  # the first encrypts, all decrypt
TEMPORAL_ORDERS_QUEUE = env_str("TEMPORAL_ORDERS_QUEUE", "orders")
TEMPORAL_SHIPPING_QUEUE = env_str("TEMPORAL_SHIPPING_QUEUE", "shipping")
WORKER_DATABASE_THREADS = env_int("WORKER_DATABASE_THREADS", 10, least=1)
WORKER_PROVIDER_CALLS = env_int("WORKER_PROVIDER_CALLS", 50, least=1)
WORKER_WORKFLOW_TASKS = env_int("WORKER_WORKFLOW_TASKS", 8, least=2)
WORKER_STICKY_TIMEOUT = env_duration("WORKER_STICKY_TIMEOUT", "2s")
WORKER_DRAIN_TIMEOUT = env_duration("WORKER_DRAIN_TIMEOUT", "20s")
# Who is asked how an order's run is doing: see docs/adr/0010-one-door-to-temporals-word.md.
ORDER_RUNS = "temporal_workers.describing.describe"
ORDER_HISTORY = "temporal_workers.histories.history"
TASK_QUEUES = "temporal_workers.describing.task_queues"
# A worker that names its build serves nothing before that build is made current: docs/operations.md.
WORKER_DEPLOYMENT = env_str("WORKER_DEPLOYMENT")
WORKER_BUILD_ID = env_str("WORKER_BUILD_ID")
if bool(WORKER_DEPLOYMENT) != bool(WORKER_BUILD_ID):
    raise ImproperlyConfigured("WORKER_DEPLOYMENT and WORKER_BUILD_ID belong together: set both, or neither.")

# The simulated bank and carrier
SIMULATOR_DATABASE_URL = env_str("SIMULATOR_DATABASE_URL") or env_str(
    "DATABASE_URL", "postgresql://countersign@127.0.0.1:5432/countersign"
)
SIMULATOR_SECONDS = env_float("SIMULATOR_SECONDS", 0.4)
SIMULATOR_DECLINE_RATE = env_float("SIMULATOR_DECLINE_RATE", 0.0)
SIMULATOR_ERROR_RATE = env_float("SIMULATOR_ERROR_RATE", 0.0)
SIMULATOR_FRAUD_RATE = env_float("SIMULATOR_FRAUD_RATE", 0.0)
SIMULATOR_LOST_ANSWER_RATE = env_float("SIMULATOR_LOST_ANSWER_RATE", 0.0)
SIMULATOR_CONFIRM_RATE = env_float("SIMULATOR_CONFIRM_RATE", 0.0)
SIMULATOR_CUSTOMER_SECONDS = env_float("SIMULATOR_CUSTOMER_SECONDS", 0.0)
WEBHOOK_URL = env_str("WEBHOOK_URL")
ASSIGNMENT_SECONDS = env_float("ASSIGNMENT_SECONDS", 0.15)

# Where customers reach the desk, for what they are asked. Without it they are asked nothing.
DESK_URL = env_str("DESK_URL")
if DESK_URL and not DESK_URL.startswith(("https://", "http://")):
    raise ImproperlyConfigured(f"DESK_URL must be an address such as https://orders.example.com, not {DESK_URL!r}.")

# Mail to customers. Without MAIL_URL none is written, so that setting it later sends nobody old news.
# The URL itself is no setting: it holds a password.
_mail_server = mail_server_from_url(env_str("MAIL_URL"))
CUSTOMERS_GET_MAIL = _mail_server != MailServer()
MAIL_ORDERS_UP_TO = env_duration("MAIL_ORDERS_UP_TO", "7d")
if _mail_server.host and not env_str("MAIL_FROM"):
    raise ImproperlyConfigured("MAIL_FROM must be set where MAIL_URL names a server: whom customers get mail from.")
DEFAULT_FROM_EMAIL = env_mailbox("MAIL_FROM", "orders@localhost")
EMAIL_BACKEND = _mail_server.backend
EMAIL_FILE_PATH = _mail_server.folder
EMAIL_HOST, EMAIL_PORT = _mail_server.host, _mail_server.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail_server.user, _mail_server.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail_server.starttls, _mail_server.tls
EMAIL_TIMEOUT = 10  # seconds

# Figures for Prometheus: the web's by this token, each worker's at an address of its own.
METRICS_TOKEN = env_str("METRICS_TOKEN")
WORKER_METRICS_BIND = env_str("WORKER_METRICS_BIND")

# Traces, by OpenTelemetry. The SDK itself reads its other variables, such as OTEL_EXPORTER_OTLP_HEADERS.
OTEL_EXPORTER_OTLP_ENDPOINT = env_url("OTEL_EXPORTER_OTLP_ENDPOINT", such_as="http://localhost:4318")
if OTEL_EXPORTER_OTLP_ENDPOINT:
    MIDDLEWARE.insert(0, "orders.spans.request_spans")

LOG_FORMAT = env_str("LOG_FORMAT", "line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT must be line or json, not {LOG_FORMAT!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "orders_site.logs.LineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
            "datefmt": "%H:%M:%S",
        },
        "json": {"()": "orders_site.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env_str("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "opentelemetry": {"level": "ERROR"},  # an endpoint that is away: once a batch is given up, not at each try
        "temporalio.activity": {"level": "ERROR"},  # failed attempts are told by temporal_workers.attempts
    },
}
