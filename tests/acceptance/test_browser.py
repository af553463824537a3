"""The admin in a real browser: nothing from elsewhere, no script errors, legible in light and dark and on a phone."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from orchestrator.models import Experiment
from tests.factories import make_experiment, make_incident, make_recommendation, make_signal, make_terms
from tests.integration.test_admin import INSPECTED, list_of, page_of, tell_whole_story

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
PASSWORD = "correct horse battery"

# WCAG 2.2, 1.4.3: normal text needs a contrast of 4.5 (less what eight bits a colour round away); every visible text is
# compared with what is painted behind it.
FAINT_TEXTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = (top, below) => top.slice(0, 3).map((part, place) => (part * top[3] + below[place] * (255 - top[3])) / 255);
    const behind = (element) => {
        const layers = [];
        for (let one = element; one; one = one.parentElement) layers.unshift(rgba(getComputedStyle(one).backgroundColor));
        return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    for (const element of document.querySelectorAll("#content-main *")) {
        const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(" ").trim();
        if (!text || !element.checkVisibility() || element.classList.contains("material-symbols-outlined")) continue;
        const back = behind(element);
        const [low, high] = [light(back), light(over(rgba(getComputedStyle(element).color), back))].sort((x, y) => x - y);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.45) found.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
    }
    return [...new Set(found)];
}"""

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.xdist_group("browser"),  # one browser, and one process that waits for it
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Playwright's synchronous interface keeps an event loop in this thread, in which Django else refuses queries.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Visit:
    """A signed-in browser window that notes whatever should not happen."""

    def __init__(self, context: BrowserContext, server: LiveServer) -> None:
        self.page: Page = context.new_page()
        self.server = server
        self.troubles: list[str] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script error: {error}"))
        self.page.on("dialog", self._note_dialog)
        self.page.on("request", self._note_request)
        self.page.on("response", self._note_response)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.server.url}{path}")
        return self.page

    def _note_console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"console {message.type}: {message.text}")

    def _note_dialog(self, dialog: Any) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_request(self, request: Any) -> None:
        if urlsplit(request.url).scheme in {"data", "blob"}:
            return
        if urlsplit(request.url).netloc != urlsplit(self.server.url).netloc:
            self.troubles.append(f"request to elsewhere: {request.url}")

    def _note_response(self, response: Any) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status}: {response.url}")


@pytest.fixture
def visit(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[..., Visit]]:
    """Open windows as the superuser ``ann``; at the end nothing may have gone wrong in any of them."""
    User.objects.create_superuser("ann", password=PASSWORD)
    visits: list[Visit] = []
    contexts: list[BrowserContext] = []

    def opened(*, viewport: ViewportSize = DESK, theme: Any = "light", signed_in: bool = True) -> Visit:
        context = chromium.new_context(viewport=viewport, color_scheme=theme)
        context.set_default_timeout(20_000)
        contexts.append(context)
        visits.append(Visit(context, live_server))
        if signed_in:
            sign_in(visits[-1])
        return visits[-1]

    yield opened
    for context in contexts:
        context.close()
    assert [trouble for one in visits for trouble in one.troubles] == []


def sign_in(visit: Visit, name: str = "ann") -> None:
    page = visit.open(reverse("admin:login"))
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"**{reverse('admin:index')}")


def all_pages(experiment: Experiment) -> list[str]:
    others = ["constance_config_changelist", "webhooks_signal_changelist", "webhooks_alertsource_changelist"]
    rows = [experiment, experiment.policy, experiment.permit, experiment.incidents.all()[0]]
    return [
        reverse("admin:index"),
        *(reverse(f"admin:{name}") for name in others),
        *map(list_of, INSPECTED),
        *map(page_of, rows),
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_loads_anything_from_elsewhere_or_raises_a_script_error(
    visit: Callable[..., Visit], theme: str
) -> None:
    window = visit(theme=theme)
    for path in all_pages(tell_whole_story()):
        page = window.open(path)
        expect(page.locator("body")).to_contain_text("PAPER · ENGINE_A_PRIMARY", ignore_case=True)
        assert window.troubles == [], path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(visit: Callable[..., Visit], theme: str) -> None:
    window = visit(theme=theme)
    experiment = tell_whole_story()
    make_incident(severity="CRITICAL")
    for path in (reverse("admin:index"), page_of(experiment), list_of(Experiment), page_of(experiment.policy)):
        page = window.open(path)
        assert ("dark" in (page.locator("html").get_attribute("class") or "")) == (theme == "dark")
        assert page.evaluate(FAINT_TEXTS) == [], path


def test_no_page_is_wider_than_a_phone(visit: Callable[..., Visit]) -> None:
    window = visit(viewport=PHONE)
    experiment = tell_whole_story()
    for path in all_pages(experiment):
        page = window.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        badge = page.get_by_text("PAPER · ENGINE_A_PRIMARY").first
        box = badge.bounding_box()
        assert box is not None, path
        assert box["x"] + box["width"] <= PHONE["width"], path


def test_a_person_finds_an_experiment_and_reads_why_it_executed(visit: Callable[..., Visit]) -> None:
    make_experiment()
    experiment = tell_whole_story(symbol="NVDA", timeframe="60")
    page = visit().page
    page.get_by_role("link", name="Experiments").first.click()
    page.fill("#searchbar", "nvda")
    page.press("#searchbar", "Enter")
    page.get_by_role("link", name="NVDA long 60").click()
    page.wait_for_url(f"**{page_of(experiment)}*")
    expect(page.locator(".o-answer")).to_contain_text("Engine A")
    raw = page.locator(".o-engine-A pre").first
    expect(raw).to_be_hidden()
    page.locator(".o-engine-A summary").first.click()
    expect(raw).to_be_visible()
    left, right = page.locator(".o-engine-A").bounding_box(), page.locator(".o-engine-B").bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]


def test_the_overview_fetches_the_comparison_after_it_is_shown(visit: Callable[..., Visit]) -> None:
    tell_whole_story()
    window = visit()
    page = window.open(reverse("admin:index"))
    expect(page.locator("#comparison")).not_to_contain_text("Comparing")
    expect(page.locator("#comparison")).not_to_contain_text("could not be read")


def test_the_description_of_the_api_is_drawn_although_no_script_may_stand_in_the_page(
    visit: Callable[..., Visit],
) -> None:
    page = visit(signed_in=False).open(reverse("docs"))
    expect(page.get_by_role("heading", name="Trading orchestrator")).to_be_visible()
    expect(page.locator(".opblock").first).to_be_visible()


def test_a_script_in_a_page_would_not_run(visit: Callable[..., Visit]) -> None:
    window = visit()
    page = window.open(reverse("admin:index"))
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.wasRun = true";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", '<img src="/static/orchestrator/icon.svg" onload="window.wasRun = true">');
        }"""
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.wasRun === undefined")
    assert any("Content Security Policy" in trouble for trouble in window.troubles)
    window.troubles.clear()


def test_markup_in_an_alert_stays_text(visit: Callable[..., Visit]) -> None:
    hostile = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
    experiment = make_experiment(signal=make_signal(symbol="<b>X</b>", payload={"note": hostile}, source=hostile))
    make_recommendation(experiment, "A", terms=make_terms(rationale=hostile, more={hostile: hostile}))
    make_recommendation(experiment, "B", action="PASS", reason=hostile)
    make_incident(experiment=experiment, detail={"what": hostile})
    window = visit()
    for path in (reverse("admin:index"), list_of(Experiment), page_of(experiment), page_of(experiment.signal)):
        page = window.open(path)
        assert page.locator("img[src=x]").count() == 0, path
        assert window.troubles == [], path


def test_a_stranger_is_asked_to_sign_in(visit: Callable[..., Visit]) -> None:
    page = visit(signed_in=False).open(list_of(Experiment))
    expect(page.locator("#id_password")).to_be_visible()
