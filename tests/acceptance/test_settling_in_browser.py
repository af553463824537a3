"""An operator settles incidents in a real browser: legible in light and dark, on a desk and on a phone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from orchestrator.models import Incident, RealTrade
from tests.acceptance.test_browser import CHROMIUM, DESK, FAINT_TEXTS, PASSWORD, PHONE, Visit, chromium, sign_in, visit
from tests.integration.test_admin import page_of
from tests.integration.test_settlement import blocked, expired, fill, path_of, unknown

__all__ = ["chromium", "visit"]  # fixtures

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.xdist_group("browser"),  # one browser, and one process that waits for it
]

SCREENS = [("light", DESK), ("dark", DESK), ("dark", PHONE)]


def look(page: Page, name: str) -> None:
    """Hold what every page must be, and keep a picture where PICTURES names a folder."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    assert page.evaluate(FAINT_TEXTS) == []
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("theme", "viewport"), SCREENS, ids=["light", "dark", "phone"])
def test_an_operator_settles_an_unknown_execution(visit: Callable[..., Visit], theme: str, viewport: Any) -> None:
    incident = unknown()
    window = visit(theme=theme, viewport=viewport)
    name = f"{theme}-{viewport['width']}"
    page = window.open(page_of(incident))
    look(page, f"incident-{name}")
    expect(page.get_by_text("send again")).to_have_count(0)
    page.get_by_role("link", name="It was executed…").click()
    page.get_by_role("button", name="Look it over").click()
    expect(page.get_by_text("The price is missing; accepted is a finite decimal number")).to_be_visible()
    look(page, f"refused-{name}")
    for field, value in fill().items():
        page.fill(f"[name={field}]", value)
    page.get_by_role("button", name="Look it over").click()
    expect(page.get_by_text("cannot be taken back")).to_be_visible()
    look(page, f"confirm-{name}")
    assert not RealTrade.objects.exists()
    page.get_by_role("button", name="Yes: It was executed").click()
    expect(page.get_by_text("Settled: It was executed. Filled 2 at 4.4")).to_be_visible()
    look(page, f"settled-{name}")
    assert RealTrade.objects.get().external_id == "IB-1"


def test_every_way_to_settle_can_be_read(visit: Callable[..., Visit]) -> None:
    blocked()
    expired()
    windows = [visit(theme=theme, viewport=viewport) for theme, viewport in SCREENS[1:]]
    for kind, choice in (("MISSING_EXIT_PRICE", "exit-price"), ("EXPIRED_OPEN_TRADE", "exit")):
        incident = Incident.objects.filter(kind=kind).first()
        assert incident is not None
        for number, window in enumerate(windows):
            look(window.open(page_of(incident)), f"{choice}-{number}")
            look(window.open(path_of(incident, choice)), f"{choice}-form-{number}")


def test_of_two_operators_at_once_the_second_is_told_who_was_first(visit: Callable[..., Visit]) -> None:
    """Both have looked it over and see the last question; one says yes, then the other."""
    incident = unknown()
    User.objects.create_superuser("bob", password=PASSWORD)
    pages = []
    for name, choice, given in (
        ("ann", "It was executed", fill()),
        ("bob", "It was not executed", {"reason": "the broker shows no such order"}),
    ):
        window = visit(signed_in=False)
        sign_in(window, name)
        page = window.open(page_of(incident))
        page.get_by_role("link", name=f"{choice}…").click()
        for field, value in given.items():
            page.fill(f"[name={field}]", value)
        page.get_by_role("button", name="Look it over").click()
        expect(page.get_by_text("cannot be taken back")).to_be_visible()
        pages.append((page, choice))
    for page, choice in reversed(pages):
        page.get_by_role("button", name=f"Yes: {choice}").click()
    expect(pages[1][0].get_by_text("Settled: It was not executed")).to_be_visible()
    expect(pages[0][0].get_by_text("bob settled it at")).to_be_visible()
    look(pages[0][0], "second-operator")
    incident.refresh_from_db()
    assert incident.resolved_by == "bob"
    assert not RealTrade.objects.exists()
