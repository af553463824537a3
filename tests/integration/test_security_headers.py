"""What browsers are told, whom we believe about https, and what a stranger gets: nothing that is not listed here."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, URLResolver, get_resolver

from config.proxies import TrustedProxiesMiddleware

# Every address that answers a stranger, and why it may. Whatever is not here must refuse.
PUBLIC = {
    "": "leads to the admin's login",
    "admin/login/": "the login itself",
    "admin/logout/": "it ends a session that a stranger does not have",
    "admin/jsi18n/": "the words of the admin's scripts, the same for everybody",
    "healthz": "load balancers carry no password; it says that the process answers",
    "readyz": "monitoring; no names, prices or secrets",
    "metrics": "monitoring; counts only",
    "api/schema/": "the description of the API, the same in the source",
    "api/docs/": "the same, for reading",
    "webhooks/tradingview/<path:token>/": "the token in the address is the password",
    "webhooks/tradingview/<path:token>": "likewise",
    r"^api/v1/engines/(?P<engine>[AB])/events/$": "the signature is the password",
}
REFUSED = (301, 302, 401, 403)
EXAMPLES = {
    "<path:token>": "no-such-token",
    r"(?P<engine>[AB])": "A",
    "<uuid:id>": "00000000-0000-7000-8000-000000000001",
    "<path:object_id>": "00000000-0000-7000-8000-000000000001",
    "<id>": "1",
    "<int:content_type_id>": "1",
}


def addresses(resolver: URLResolver | None = None, start: str = "") -> Iterator[str]:
    """Return every pattern that the resolver knows, as it is written."""
    for one in (resolver or get_resolver()).url_patterns:
        pattern = start + str(one.pattern)
        if isinstance(one, URLPattern):
            yield pattern
        else:
            yield from addresses(one, pattern)


def example(pattern: str) -> str:
    """Return a path that the pattern matches."""
    for written, found in EXAMPLES.items():
        pattern = pattern.replace(written, found)
    if pattern.startswith("admin/^"):  # a regular expression of the admin
        return "/admin/" + {"auth": "orchestrator/"}.get("auth", "")
    path = "/" + pattern.replace("^", "").replace("$", "").replace("\\Z", "")
    return path.replace("(?P<url>.*)", "nowhere/").replace("(?P<app_label>auth|", "auth/")


def all_addresses() -> list[str]:
    return sorted(set(addresses()))


@pytest.mark.django_db
def test_a_stranger_is_refused_at_every_address_that_is_not_public(client: Client) -> None:
    answered = []
    for pattern in all_addresses():
        if pattern in PUBLIC:
            continue
        for method in (client.get, client.post, client.put, client.delete):
            response = method(example(pattern))
            leads_elsewhere = response.status_code in (301, 302) and not response["Location"].startswith(
                "/admin/login/"
            )
            if response.status_code not in REFUSED or leads_elsewhere:
                answered.append((method.__name__, pattern, response.status_code))
    assert answered == []


def test_every_public_address_exists() -> None:
    assert set(PUBLIC) <= set(all_addresses())
    assert len(all_addresses()) > 80


@pytest.mark.django_db
def test_a_webhook_without_its_token_and_an_event_without_its_signature_are_refused(client: Client) -> None:
    assert client.post("/webhooks/tradingview/no-such-token/", "{}", content_type="application/json").status_code == 404
    assert client.post("/api/v1/engines/A/events/", "{}", content_type="application/json").status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["/admin/", "/admin/login/", "/api/docs/", "/api/v1/signals/", "/healthz", "/metrics", "/nowhere", "/api/no"],
)
def test_every_answer_carries_the_headers_and_allows_no_inline_script(admin_client: Client, path: str) -> None:
    headers = admin_client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    scripts = policy.get("script-src", policy["default-src"])
    assert "unsafe-inline" not in scripts
    assert ("unsafe-eval" in scripts) == path.startswith("/admin/")
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "*" not in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert any(word in headers["Cache-Control"] for word in ("no-store", "private", "max-age=0"))


@pytest.mark.django_db
def test_no_page_has_a_script_in_it(admin_client: Client) -> None:
    for path in (
        "/admin/",
        "/admin/constance/config/",
        "/admin/login/",
        "/api/docs/",
        "/admin/webhooks/alertsource/add/",
    ):
        page = admin_client.get(path).content.decode()
        for tag in page.split("<script")[1:]:
            assert " src=" in tag.split(">")[0] or 'type="application/json"' in tag.split(">")[0], (path, tag[:80])


def forwarded(peer: str) -> HttpRequest:
    """Return the request as it looks behind the middleware."""
    seen: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    request = RequestFactory().get(
        "/",
        REMOTE_ADDR=peer,
        headers={"x-forwarded-proto": "https", "x-forwarded-for": "1.2.3.4", "forwarded": "proto=https"},
    )
    TrustedProxiesMiddleware(answer)(request)
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::5", True),
        ("11.1.2.3", False),
        ("2001:db9::5", False),
        ("", False),
        ("somewhere", False),
    ],
)
def test_only_a_named_proxy_is_believed_about_https(peer: str, believed: bool) -> None:
    proxies = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    with override_settings(TRUSTED_PROXIES=proxies, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        request = forwarded(peer)
        assert request.is_secure() == believed
        assert ("HTTP_X_FORWARDED_FOR" in request.META) == believed
        assert ("HTTP_FORWARDED" in request.META) == believed


@pytest.mark.django_db
@pytest.mark.parametrize(("proxies", "status"), [(("127.0.0.1",), 200), (("10.0.0.1",), 301), ((), 301)])
def test_plain_http_is_redirected_whatever_it_claims_unless_a_proxy_says_so(
    client: Client, proxies: Any, status: int
) -> None:
    changes = {
        "TRUSTED_PROXIES": tuple(map(ip_network, proxies)),
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
        "SECURE_SSL_REDIRECT": True,
    }
    with override_settings(**changes):
        response = Client().get("/admin/login/", headers={"x-forwarded-proto": "https"})
    assert response.status_code == status
    assert not User.objects.exists()
