"""The pages as a reader sees them: in Chromium, from a file, at desk and phone width, offline."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import looking
import pytest
from dynamics_cases import made
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

import wingbeat as wb
from wingbeat.measure.metric import default_names
from wingbeat.report.pages.grid_of_conditions import write_grid_page
from wingbeat.studies.dynamics import STUDY, DynamicsPlan
from wingbeat.studies.phases import STUDY as PHASES
from wingbeat.studies.phases import AlongPlan
from wingbeat.study.file import StudyFile
from wingbeat.study.run import run_study
from wingbeat.study.runner import InlineRunner
from wingbeat.tasks.dense import circles_task

pytestmark = pytest.mark.browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
PAPER = {"width": 672, "height": 980}
"""A4 within the margins of the style sheet, at 96 pixels an inch."""
GRID = {
    "name": "rates",
    "replicates": 2,
    "base": {
        "factory": "wingbeat.tasks.dense:circles_task",
        "arguments": {"epochs": 1},
        "replicas": 3,
    },
    "axes": {"arguments": {"lr": [0.01, 0.1]}},
}


@dataclass
class Opened:
    """A loaded page and everything that it complained about or asked for."""

    page: Page
    phone: bool
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def hear(self, message: str) -> None:
        # Without a graphics card Chromium's own software renderer says that it is slow.
        if "GL Driver Message (OpenGL, Performance" not in message:
            self.complaints.append(message)

    def point_at(self, x: float, y: float) -> None:
        if self.phone:
            self.page.wait_for_timeout(400)  # two quick taps would be a double tap
            self.page.touchscreen.tap(x, y)
        else:
            self.page.mouse.move(x, y)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.fail(f"none of {', '.join(PROGRAMS)} is installed: apt-get install chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, of small runs; and the made-up study of all 21 nets."""
    folder = tmp_path_factory.mktemp("pages")
    result, other = (
        wb.run(
            circles_task(epochs=4, lr=lr),
            [wb.Gaussian(0.01), wb.Gaussian(1e-4, at=64)],
            replicas=3,
            record_every=16,
            metrics=(*default_names(), "eval_loss", "accuracy", "disagreement"),
        )
        for lr in (0.01, 0.1)
    )
    grid = StudyFile.model_validate(GRID).conditions()
    nets = ("3-layer Tiny", "CNN Tiny", "GPT tiny")
    plan = DynamicsPlan(names=nets, quick=True, seeds=2, replicas=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WINGBEAT_DATA", raising=False)
        patch.setenv("WINGBEAT_CACHE", str(folder / "cache"))
        patch.setenv("WINGBEAT_OFFLINE", "1")
        small = STUDY.run(plan, folder / "study", say=lambda _: None, runner=InlineRunner()).page
    whole = replace(made(lambda a, seed: (0.4 + a.size) * 1.5**seed).study, folder=folder / "whole")
    whole.folder.mkdir()
    return {
        "runs": wb.compare_results([result, other], names=("slow", "fast")).report(
            folder / "runs.html"
        ),
        "grid": write_grid_page(
            run_study(grid, folder / "grid", InlineRunner()),
            grid,
            "rates",
            "wingbeat study rates.toml",
        ),
        "phases": PHASES.run(
            AlongPlan(epochs=1, hidden=(8,), replicas=1, seeds=3),
            folder / "phases",
            say=lambda _: None,
            runner=InlineRunner(),
        ).page,
        "run": result.report(folder / "report.html"),
        "study": small,
        "all nets": STUDY.judge(DynamicsPlan(), whole, say=lambda _: None).page,
    }


def opened(
    browser: Browser, path: Path, screen: str, scheme: str = "light", *, unfolded: bool = True
) -> Opened:
    width, height = SCREENS[screen]
    phone = screen == "phone"
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        is_mobile=phone,
        has_touch=phone,
        offline=True,
    )
    context.set_default_timeout(60_000)
    found = Opened(context.new_page(), phone)

    def only_files(route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            found.asked.append(route.request.url)
            route.abort()

    context.route("**/*", only_files)
    found.page.on("console", lambda m: found.hear(f"{m.type}: {m.text}"))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(path.as_uri())
    if unfolded:
        found.page.evaluate(looking.UNFOLD)
    found.page.wait_for_function(looking.READY)
    return found


@pytest.fixture(
    scope="module",
    params=[(name, screen) for name in ("run", "study", "all nets") for screen in SCREENS],
    ids=lambda pair: f"{pair[0]}, {pair[1]}",
)
def shown(request, browser: Browser, pages: dict[str, Path]) -> Iterator[Opened]:
    name, screen = request.param
    found = opened(browser, pages[name], screen)
    yield found
    found.page.context.close()


def test_every_figure_is_drawn(shown: Opened) -> None:
    figures = shown.page.evaluate(looking.FIGURES)
    assert len(figures) >= 8
    for figure in figures:
        assert figure["width"] > 200, figure
        assert figure["height"] > 100, figure
        assert figure["marks"] > 0, figure


def test_pointing_at_a_value_names_it(shown: Opened) -> None:
    flat = shown.page.evaluate(
        "() => [...document.querySelectorAll('figure .plot')].map(e => e.id)"
    )
    assert flat
    for ident in flat:
        for x, y in shown.page.evaluate(looking.POINTS, ident):
            text = label_at(shown, ident, x, y)
            assert re.search(r"\d", text), (ident, text)


def label_at(shown: Opened, ident: str, x: float, y: float) -> str:
    """Text of the label at a point; on a busy machine Chromium may drop an emulated tap."""
    for _ in range(3):
        shown.point_at(x, y)
        for _ in range(40):
            text: str = shown.page.evaluate(looking.HOVER_TEXT, ident)
            if text:
                return text
            shown.page.wait_for_timeout(50)
    return ""


def test_nothing_reaches_beyond_the_page(shown: Opened) -> None:
    assert shown.page.evaluate(looking.TOO_WIDE) == []


def test_no_text_is_cut(shown: Opened) -> None:
    assert shown.page.evaluate(looking.CUT_TEXTS) == []


def test_no_text_lies_on_another(shown: Opened) -> None:
    assert shown.page.evaluate(looking.OVERLAPS) == []


def test_keys_do_not_rely_on_colour(shown: Opened) -> None:
    for figure in shown.page.evaluate(looking.KEYS):
        looks = [(dashes, mark) for _, dashes, mark in figure["looks"]]
        assert len(set(looks)) == len(looks), figure


def test_an_entry_of_a_key_hides_its_lines_and_shows_them_again(shown: Opened) -> None:
    button = shown.page.locator(".key button").first
    ident = button.get_attribute("data-figure")
    drawing = f"document.querySelector('[data-of={ident}]')"
    visible = f"() => {drawing}._fullData.filter(t => t.visible).length"
    before = shown.page.evaluate(visible)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert shown.page.evaluate(visible) < before
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert shown.page.evaluate(visible) == before


def test_turning_the_phone_fits_the_figures_again(shown: Opened) -> None:
    narrow, wide = ({"width": w, "height": 800} for w in (360, 844))
    for size in (wide, narrow):
        shown.page.set_viewport_size(size)
        fits = """() => [...document.querySelectorAll('.plot')].every((p) => Math.abs(
            p.querySelector('.main-svg').getBoundingClientRect().width - p.clientWidth) < 2)"""
        shown.page.wait_for_function(fits)
        assert shown.page.evaluate(looking.TOO_WIDE) == []


def test_the_console_is_clean_and_nothing_was_asked_for(shown: Opened) -> None:
    # last of those that share a page: what any of them provoked counts
    assert shown.complaints == []
    assert shown.asked == []


@pytest.mark.parametrize("name", ["run", "all nets"])
def test_a_dark_screen_gets_light_text(browser: Browser, pages, name: str) -> None:
    found = opened(browser, pages[name], "desktop", "dark")
    colours = found.page.evaluate(looking.COLOURS)
    found.page.context.close()
    assert contrast(colours["ink"], colours["paper"]) > 7
    assert contrast(colours["drawn"], colours["paper"]) > 4.5
    assert luminance(colours["paper"]) < 0.1
    assert found.complaints == []


FIRST_SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}


@pytest.mark.parametrize("screen", FIRST_SCREENS)
def test_the_first_screen_holds_the_title_the_answer_and_a_figure(browser, pages, screen) -> None:
    found = opened(browser, pages["run"], screen, unfolded=False)
    width, height = FIRST_SCREENS[screen]
    found.page.set_viewport_size({"width": width, "height": height})
    found.page.wait_for_function(looking.READY)
    seen = found.page.evaluate(looking.FIRST_SCREEN)
    title = found.page.title()
    found.page.context.close()
    assert re.match(r"circles, dense net: \w+, \d+ \w{3} \d{4} \| wingbeat$", title), title
    told = " ".join(seen["texts"])
    assert re.search(r"circles, dense net\s+\d+ \w+ \d{4}, \d\d:\d\d UTC", told)
    assert "2,338 weights; trained on 1,000 samples" in told
    answer = (
        r"128 steps on, the copies of gaussian-0\.01@0 lie [\d.,]+ times as far from one another"
    )
    doubt = r" as right after the nudge \(95 % interval [\d.,]+ to [\d.,]+\); \d of 3 grew\."
    assert re.search(r"(Con|Di)vergent: training|Undetermined: ", told)
    assert re.search(answer + doubt, told), told
    assert seen["figures"][0]["id"] == "fig-first"
    assert seen["figures"][0]["marks"] >= 1
    if screen == "desktop":
        assert seen["rows"] == ["gaussian-0.01@0", "gaussian-0.0001@64", "reference"]


LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light")]


@pytest.mark.parametrize("name", ["runs", "grid", "phases"])
@pytest.mark.parametrize(("screen", "scheme"), LOOKS, ids="-".join)
def test_the_other_kinds_of_page_are_whole(browser: Browser, pages, name, screen, scheme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = opened(browser, pages[name], screen, scheme)
    figures = found.page.evaluate(looking.FIGURES)
    assert figures
    assert all(f["width"] > 200 and f["height"] > 100 and f["marks"] > 0 for f in figures), figures
    wrong = [found.page.evaluate(q) for q in (looking.TOO_WIDE, looking.CUT_TEXTS)]
    wrong.append(found.page.evaluate(looking.OVERLAPS))
    assert wrong == [[], [], []]
    assert found.complaints == []
    assert found.asked == []
    violations = axe.run(found.page).response["violations"]
    found.page.context.close()
    assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []


@pytest.mark.parametrize("name", ["run", "study", "runs", "grid", "phases"])
def test_paper_holds_the_whole_width_in_black_on_white(browser: Browser, pages, name: str) -> None:
    found = opened(browser, pages[name], "desktop", "dark", unfolded=False)
    found.page.emulate_media(media="print", color_scheme="dark")
    found.page.set_viewport_size(PAPER)
    found.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    fits = "() => [...document.querySelectorAll('.plot')].every(p => p.clientWidth <= innerWidth)"
    found.page.wait_for_function(fits)
    wide = found.page.evaluate(looking.TOO_WIDE) + found.page.evaluate(looking.CUT_TEXTS)
    colours = found.page.evaluate(looking.COLOURS)
    found.page.context.close()
    assert wide == []
    assert luminance(colours["paper"]) > 0.9
    assert contrast(colours["ink"], colours["paper"]) > 7
    assert contrast(colours["drawn"], colours["paper"]) > 4.5


@pytest.mark.parametrize("name", ["run", "study", "all nets"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, pages, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = opened(browser, pages[name], "desktop", scheme)
    # Its own script goes around the policy of the page, as an extension of a browser would.
    outcome = axe.run(found.page)
    found.page.context.close()
    assert [(v["id"], v["help"]) for v in outcome.response["violations"]] == []


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(…)``: WCAG 2.2, definition of the term."""
    parts = [int(p) / 255 for p in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21: WCAG 2.2, definition of the term."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
