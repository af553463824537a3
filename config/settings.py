"""Every setting of the service, read from the environment once; a senseless one stops the start with a sentence."""

from pathlib import Path
from urllib.parse import quote

from django.templatetags.static import static
from django.urls import reverse_lazy

from config.database import database_settings
from config.environment import (
    APP_MODES,
    PlainEnv,
    read_bool,
    read_choice,
    read_engine,
    read_engine_hosts,
    read_int,
    read_networks,
    read_number,
    read_seconds,
    read_secret_key,
    read_token,
)
from config.fault_points import read_faults
from config.faults import arm
from config.logs import configure_logging
from config.panel import CONSTANCE_FIELDS, CONSTANCE_GROUPS, CONSTANCE_KEYS
from config.redaction import hide
from config.telling import check_encryption, read_emails, read_webhook_url

BASE_DIR = Path(__file__).resolve().parent.parent
env = PlainEnv()

# What belongs to this installation: generated credentials, logs of the processes that quickstart starts, ledgers.
RUN_DIR = Path(env.str("RUN_DIR", default="") or BASE_DIR / ".run").expanduser().absolute()

# The mode of the house. The environment decides it, so that a running panel can never turn paper into live.
APP_MODE = read_choice(env, "APP_MODE", choices=APP_MODES, default="PAPER")
DEBUG = read_bool(env, "DEBUG")
SECRET_KEY = read_secret_key(env, app_mode=APP_MODE, kept_in=RUN_DIR / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = read_networks(env, "TRUSTED_PROXIES")

DATABASES = {"default": database_settings(env, base_dir=BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.constance",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "pgtrigger",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config.apps.ConfigConfig",
    "webhooks",
    "orchestrator",
    "outcomes",
    "constance",  # after orchestrator, whose command of the same name refuses with sentences
]

MIDDLEWARE = [
    "config.security_headers.SecurityHeadersMiddleware",
    "config.proxies.TrustedProxiesMiddleware",
    "config.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "webhooks.middleware.AlertsFirstMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
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
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
DATETIME_FORMAT = "Y-m-d H:i:s"
DATE_FORMAT = "Y-m-d"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None  # for collectstatic; whitenoise serves without it
WHITENOISE_USE_FINDERS = True

# Behind TLS everywhere but on this machine: cookies and redirects follow HTTPS_ONLY.
HTTPS_ONLY = read_bool(env, "HTTPS_ONLY", default=APP_MODE == "LIVE")
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
X_FRAME_OPTIONS = "DENY"

# The panel: operators switch execution modes here; every save is one policy revision.
CONSTANCE_BACKEND = "orchestrator.panel.backend.PanelBackend"
CONSTANCE_CONFIG = CONSTANCE_KEYS
CONSTANCE_ADDITIONAL_FIELDS = CONSTANCE_FIELDS
CONSTANCE_CONFIG_FIELDSETS = CONSTANCE_GROUPS
CONSTANCE_SUPERUSER_ONLY = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Trading orchestrator",
    "DESCRIPTION": "The referee between two options-trading engines.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "Engine": "orchestrator.domain.vocabulary.Engine",
        "IncidentKind": "orchestrator.domain.vocabulary.IncidentKind",
        "TradeKind": ["real", "shadow", "twin"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.describe_plain_views",
    ],
}

# Intake
WEBHOOK_MAX_BODY_BYTES = 64 * 1024
WEBHOOK_MAX_JSON_DEPTH = 32
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
# Where alerts wait while the database is away: on this machine, shared by its web processes and workers.
SPOOL_DIR = Path(env.str("SPOOL_DIR", default="") or RUN_DIR / "spool").expanduser().absolute()
SPOOL_MAX_BYTES = read_int(env, "SPOOL_MAX_BYTES", default=64 * 1024 * 1024, lowest=0, highest=2**40)

# Faults on purpose, for tests; refused in production.
arm(read_faults(env, app_mode=APP_MODE, debug=DEBUG))

# The protocol's times, in seconds
RECOMMENDATION_DEADLINE_SECONDS = read_seconds(env, "RECOMMENDATION_DEADLINE_SECONDS", default=300)
EXECUTION_WINDOW_SECONDS = read_seconds(env, "EXECUTION_WINDOW_SECONDS", default=30)
LEASE_SECONDS = read_seconds(env, "LEASE_SECONDS", default=30)
ENGINE_PROBE_SECONDS = read_seconds(env, "ENGINE_PROBE_SECONDS", default=10)
EXIT_POLL_SECONDS = read_seconds(env, "EXIT_POLL_SECONDS", default=300)
QUOTE_MAX_AGE_SECONDS = read_seconds(env, "QUOTE_MAX_AGE_SECONDS", default=900)
CLOCK_MARGIN_SECONDS = 5.0
QUIET_PERIOD_SECONDS = 60.0
MAX_SIGNAL_ATTEMPTS = read_int(env, "MAX_SIGNAL_ATTEMPTS", default=5, lowest=1, highest=100)

# Real money is placed only with engines whose claims were proved; a proof that is older counts as never made.
ENGINE_PROOF_MAX_AGE_DAYS = read_int(env, "ENGINE_PROOF_MAX_AGE_DAYS", default=30, lowest=1, highest=3650)

# The rules of the comparison, fixed before the first pair of an experiment series is seen.
COMPARISON_CLUSTER = read_choice(env, "COMPARISON_CLUSTER", choices=("DAY", "WEEK"), default="DAY")
COMPARISON_SMALLEST_DIFFERENCE = read_number(
    env, "COMPARISON_SMALLEST_DIFFERENCE", default=0.1, lowest=0.001, highest=100
)

ENGINE_ALLOWED_HOSTS = read_engine_hosts(env)
ENGINES = {name: read_engine(env, name, app_mode=APP_MODE, allowed_hosts=ENGINE_ALLOWED_HOSTS) for name in ("A", "B")}

# New incidents are told by mail and by a POST of JSON, each only when its setting is there.
INCIDENT_EMAILS = read_emails(env, "INCIDENT_EMAILS")
INCIDENT_WEBHOOK_URL = read_webhook_url(env, "INCIDENT_WEBHOOK_URL")
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = read_int(env, "EMAIL_PORT", default=25, lowest=1, highest=65_535)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = read_bool(env, "EMAIL_USE_TLS")
EMAIL_USE_SSL = read_bool(env, "EMAIL_USE_SSL")
check_encryption(use_tls=EMAIL_USE_TLS, use_ssl=EMAIL_USE_SSL)
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="orchestrator@localhost")

# Given by quickstart or by whoever sets the service up; quickstart makes what is missing.
ADMIN_PASSWORD = env.str("ADMIN_PASSWORD", default="")
API_TOKEN = read_token(env, "API_TOKEN", shortest=8, longest=40)
WEBHOOK_TOKEN = read_token(env, "WEBHOOK_TOKEN", shortest=8, longest=200)

hide(
    SECRET_KEY,
    ADMIN_PASSWORD,
    API_TOKEN,
    WEBHOOK_TOKEN,
    EMAIL_HOST_PASSWORD,
    INCIDENT_WEBHOOK_URL or "",
    str(DATABASES["default"].get("PASSWORD", "")),
    quote(str(DATABASES["default"].get("PASSWORD", "")), safe=""),
    *(secret for engine in ENGINES.values() for secret in engine.secrets),
)
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.redaction.ReportFilter"
LOGGING_CONFIG = None  # structlog renders Django's lines as well; Django's own handlers would print them twice
configure_logging(level=read_choice(env, "LOG_LEVEL", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"))

UNFOLD = {
    "SITE_TITLE": "Trading orchestrator",
    "SITE_HEADER": "Trading orchestrator",
    "SITE_SUBHEADER": "all times in UTC",
    "SITE_SYMBOL": "balance",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("orchestrator/icon.svg")},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "orchestrator.admin_site.environment_badge",
    "DASHBOARD_CALLBACK": "outcomes.dashboard.dashboard_context",
    "STYLES": [lambda request: static("orchestrator/admin.css")],
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "orchestrator.admin_site.navigation",
    },
}
