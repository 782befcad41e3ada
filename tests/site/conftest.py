"""The built site and a browser to look at it with: `make test-site` builds the one and runs these tests with the other.

Without the site or the browser a test is skipped at home, but fails in continuous integration.
COURSE_SITE names another folder than _build/html, COURSE_BROWSER another Chromium than the one on the path.
"""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from built_site import SITE, SUB_PATH, pages

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing but this machine can be reached, whatever the network of the machine is.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def missing(what):
    """Skip at home, fail in continuous integration."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def pytest_generate_tests(metafunc):
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages() or [None])
    if "explorer_page" in metafunc.fixturenames:
        kind = getattr(metafunc.function, "explorer_kind", "")
        wanted = [p for p in pages() if f'<div class="explorer" data-kind="{kind}' in (SITE / p).read_text()]
        metafunc.parametrize("explorer_page", wanted or [None])


@pytest.fixture(scope="session")
def site():
    """The folder of the built site."""
    if not (SITE / "index.html").is_file():
        missing(f"needs the built site in {SITE}: run `make book` first")
    return SITE


class _Quiet(SimpleHTTPRequestHandler):
    """A plain file server that knows the site under a sub-path only."""

    def translate_path(self, path):
        inside = path.removeprefix(SUB_PATH) if path.startswith(SUB_PATH) else "not-there"
        return super().translate_path("/" + inside)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{SUB_PATH}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser(site):
    """One headless Chromium, the system's own."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("needs Playwright: install requirements.txt")
    wanted = os.environ.get("COURSE_BROWSER")
    path = shutil.which(wanted) if wanted else next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing(f"needs a browser: install one of {', '.join(BROWSERS)}, or set COURSE_BROWSER")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens a page by name or address, waits until it stands, and afterwards fails if anything went wrong on it.

    What is wrong: a request to any other host, a request without an answer, an error in the console.
    """
    contexts, problems = [], []

    def go(name, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        start = name if name.startswith("file:") else address + name
        home = start[: start.rindex("/emergent-alignment-course/")] if start.startswith("file:") else address
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url[:200]} {r.failure}"))
        page.on("response", lambda r: problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on(
            "request",
            lambda r: problems.append(f"left the site: {r.url[:200]}") if not r.url.startswith((home, "data:", "blob:")) else None,
        )  # fmt: skip
        page.goto(start)
        page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
        page.wait_for_function("() => !window.MathJax?.startup || document.documentElement.dataset.formulas")
        page.wait_for_function("() => [...document.querySelectorAll('.explorer')].every(e => e.dataset.ready)")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not problems, "\n".join(dict.fromkeys(problems))
