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

    def frame(self):
        frame = self.page.frame_locator("iframe[title=Fleet]")
        frame.locator("#age:not(:text('Loading'))").wait_for()
        return frame

    def titled(self):
        """The title of the document in the frame, which a script in it could have changed."""
        return self.own().title()

    def own(self):
        """The frame in which our own page is."""
        return next(frame for frame in self.page.frames if frame.parent_frame and "/fleet/page" in frame.url)


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


def _note(message, said):
    if message.type == "error" and "/fleet/" in str(message.location.get("url")):
        said.append(message.text)


def _check(visit):
    assert not visit.said
    assert [url for url in visit.asked if not url.startswith((visit.address, "data:", "blob:"))] == []


@pytest.fixture
def picture(request):
    """Keep what is seen, where the command line says."""
    folder = request.config.getoption("--pictures")

    def take(page, name):
        if folder:
            page.wait_for_timeout(300)
            page.screenshot(path=str(Path(folder) / f"{name}.png"))

    return take
