"""What a browser may do with an answer of ours: a content security policy per kind of page, and the headers beside it.

No page runs a script that stands in the page: every script is a file of ours. What remains open, and why:
- the admin (django-unfold) runs Alpine.js, which compiles the expressions in its attributes: ``'unsafe-eval'`` there, and
  only there;
- style attributes and style elements of the admin and of Swagger UI: ``'unsafe-inline'`` for styles, never for scripts.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

NOTHING = {
    "default-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
DOCS = NOTHING | {
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
}
ADMIN = DOCS | {"script-src": "'self' 'unsafe-eval'", "form-action": "'self'"}

# By the beginning of the path; what is not named here is data, and no page at all.
PAGES = (("/admin/", ADMIN), ("/api/docs/", DOCS))


def _as_header(policy: dict[str, str]) -> str:
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


_POLICIES = tuple((start, _as_header(policy)) for start, policy in PAGES)
_POLICY_OF_DATA = _as_header(NOTHING)

# Some of these Django sets as well; an answer that was replaced on its way out (config.problems) has lost them.
OTHER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityHeadersMiddleware:
    """Stands first, so that refusals and redirects of the others carry the headers too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", content_security_policy(request.path))
        for name, value in OTHER_HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def content_security_policy(path: str) -> str:
    """Return the policy for the page at ``path``."""
    return next((policy for start, policy in _POLICIES if path.startswith(start)), _POLICY_OF_DATA)
