"""A quant reads the comparison in a real browser: legible in light and dark, on a desk and on a phone, without a script."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from outcomes.counting import count_changes
from tests.acceptance.test_browser import CHROMIUM, DESK, FAINT_TEXTS, PHONE, Visit, chromium, visit
from tests.integration.test_reports import FIRST, both_closed, executed

__all__ = ["chromium", "visit"]  # fixtures

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

PAGE = "/admin/comparison/"

# Words of a chart that cover each other, or that are cut off by the window.
COVERED_WORDS = """() => {
    const found = [];
    for (const plot of document.querySelectorAll(".o-plot")) {
        const words = [...plot.querySelectorAll("span")].filter((span) => span.checkVisibility());
        const boxes = words.map((span) => [span.textContent, span.getBoundingClientRect()]);
        boxes.forEach(([text, one], place) => {
            if (one.left < 0 || one.right > document.documentElement.clientWidth) found.push(`${text} is cut off`);
            for (const [other, two] of boxes.slice(place + 1)) {
                const apart = one.right <= two.left || two.right <= one.left || one.bottom <= two.top || two.bottom <= one.top;
                if (!apart) found.push(`${text} covers ${other}`);
            }
        });
    }
    return found;
}"""


def tell(days: int) -> None:
    """Write a pair a day, real trades of A among them."""
    for number in range(days):
        at = FIRST + timedelta(days=number)
        executed(real=90 - 40 * (number % 5), twin=100 - 40 * (number % 5), shadow=30 * (number % 3) - 40, at=at)
    both_closed(None, 45, at=FIRST + timedelta(days=days))
    count_changes()


def look(page: Page, name: str) -> None:
    """Hold what the page must be at every width, and keep a picture where PICTURES names a folder."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=Path(folder) / f"comparison-{name}.png", full_page=True)
    assert page.evaluate(FAINT_TEXTS) == []
    assert page.evaluate(COVERED_WORDS) == []
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("theme", "viewport"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_a_quant_reads_the_comparison(visit: Callable[..., Visit], theme: str, viewport: Any) -> None:
    tell(22)
    window = visit(theme=theme, viewport=viewport)
    page = window.open(PAGE)
    look(page, f"{theme}-{viewport['width']}")
    assert ("dark" in (page.locator("html").get_attribute("class") or "")) == (theme == "dark")
    expect(page.get_by_role("heading", name="Too early to say which engine is better.")).to_be_visible()
    for name in ("Engine A, real", "Mean difference over time", "A against B, pair by pair"):
        drawn = page.get_by_role("img", name=name).first.locator(".o-line, .o-dots-1").first
        box = drawn.bounding_box()
        assert box is not None
        assert box["width"] > 50, name
        assert drawn.evaluate("line => getComputedStyle(line).stroke") not in {"none", ""}, name
    page.locator("#verdict summary").click()
    expect(page.locator("#verdict")).to_contain_text("Any-time-valid confidence sequence")
    page.locator("#curves summary").first.click()
    expect(page.locator("#curves table").first).to_be_visible()
    look(page, f"{theme}-{viewport['width']}-open")


def test_filters_are_chosen_in_the_form_and_a_figure_is_downloaded(visit: Callable[..., Visit]) -> None:
    tell(3)
    window = visit()
    page = window.open("/admin/")
    page.get_by_role("link", name="Compare the engines").click()
    page.wait_for_url(f"**{PAGE}")
    page.get_by_label("From").fill("2026-03-03")
    page.get_by_label("Execution mode").select_option("ENGINE_A_PRIMARY")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**from=2026-03-03*mode=ENGINE_A_PRIMARY*")
    expect(page.locator("#pairs")).to_contain_text("The newest 2 complete pairs")
    with page.expect_download() as download:
        page.locator("#pairs").get_by_role("link", name="CSV").click()
    assert Path(download.value.path()).read_text(encoding="utf-8").count("\n") == 3
    page.get_by_label("From").fill("yesterday")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#problem-from")).to_contain_text("yesterday cannot be used.")
    look(page, "refused")
    assert [trouble for trouble in window.troubles if "400" not in trouble] == []
    window.troubles.clear()


def test_a_comparison_without_anything_fits_a_phone(visit: Callable[..., Visit]) -> None:
    page = visit(viewport=PHONE).open(PAGE)
    expect(page.locator(".o-chart-empty").first).to_be_visible()
    look(page, "empty")
