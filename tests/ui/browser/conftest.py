"""Chromium, and pages in it for users that are signed in."""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import pytest

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
"""Nobody but us is asked for anything; root may start it."""
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "there is no chromium on the PATH; `make test-ui` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@dataclasses.dataclass
class Visit:
    """A page of Airflow that somebody looks at."""

    page: object
    address: str
    said: list
    """What the browser says of our own pages: errors, and what their policy has refused."""
    asked: list
    """Addresses that were asked for."""

    def fleet(self, query=""):
        """The fleet page inside of Airflow's, when it has its data."""
        self.page.goto(f"{self.address}/plugin/fleet" + (f"/fleet/page?{query}" if query else ""))
        return self.frame()

    def navigate(self):
        """To the fleet page by Airflow's own navigation."""
        self.page.get_by_test_id("nav-sidebar").get_by_role("link", name="Fleet").click()
        return self.frame()

    def frame(self):
        frame = self.page.frame_locator("iframe[title=Fleet]")
        frame.locator("#age:not(:text('Loading'))").wait_for()
        return frame

    def titled(self):
        """The title of the document in the frame, which a script in it could have changed."""
        return self.own().title()

    def report(self, dag_id, run_id):
        """The tab with the report of a run, when it has told what there is."""
        self.page.goto(f"{self.address}/dags/{dag_id}/runs/{run_id}/plugin/report")
        frame = self.page.frame_locator("iframe[title=Report]")
        frame.locator("#about:not(:text('Loading'))").wait_for()
        return frame

    def own(self):
        """The frame in which our own page is."""
        return next(frame for frame in self.page.frames if frame.parent_frame and "/fleet/" in frame.url)

    def barriers(self):
        """What axe-core calls serious or critical on our own page: contrast, names, roles."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.own()).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        return [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious]


@pytest.fixture
def visit(chromium):
    """Begin a visit; at its end nothing was said, and nobody else was asked."""
    with contextlib.ExitStack() as stack:

        def begin(address, token=None, *, theme="light", size="wide"):
            width, height = SIZES[size]
            context = chromium.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
            stack.callback(context.close)
            context.set_default_timeout(30_000)
            context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
            if token:
                context.add_cookies([{"name": "_token", "value": token, "url": address}])
            made = Visit(context.new_page(), address, [], [])
            stack.callback(_check, made)
            made.page.on("request", lambda request: made.asked.append(request.url))
            made.page.on("console", lambda message: _note(message, made.said))
            made.page.on("pageerror", lambda error: made.said.append(str(error)))
            return made

        yield begin


@pytest.fixture
def tokens(client):
    """A session by user, as Airflow's own login gives it."""
    return {user: each.cookies["_token"] for user, each in client.items() if user}


@pytest.fixture(params=["wide-light", "wide-dark", "narrow-light", "narrow-dark"])
def looked(request, visit, address, tokens):
    """A visit with a window of either size and in either theme, and what that is called."""
    size, theme = request.param.split("-")
    return visit(address, tokens["otto"], theme=theme, size=size), request.param


def _note(message, said):
    if message.type == "error" and "/fleet/" in str(message.location.get("url")):
        said.append(message.text)


def _check(visit):
    assert not visit.said
    assert [url for url in visit.asked if not url.startswith((visit.address, "data:", "blob:"))] == []


class Pictures:
    """Keeps what is seen, where the command line says; nothing is kept if it does not."""

    def __init__(self, folder):
        self._folder = folder

    def __call__(self, page, name):
        if self._folder:
            page.wait_for_timeout(300)
            page.screenshot(path=str(Path(self._folder) / f"{name}.png"))

    def everywhere(self, page, name):
        """In windows of either size, and in either theme, as somebody sees it who changes both."""
        if not self._folder:
            return
        was = page.viewport_size
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in ("dark", "light"):
                for each in ("dark", "light"):
                    has = "true" if each == theme else "false"
                    page.evaluate(f"() => document.documentElement.classList.toggle('{each}', {has})")
                self(page, f"{name}-{size}-{theme}")
        page.set_viewport_size(was)


@pytest.fixture
def picture(request):
    """Keep what is seen."""
    return Pictures(request.config.getoption("--pictures"))
