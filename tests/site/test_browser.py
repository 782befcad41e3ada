"""The built site in a real browser, served under a sub-path of a plain file server, with every other host out of reach."""

import json
import re
import zipfile

from built_site import ARCHIVE, SITE, SUB_PATH, explorers_of

# Serious faults of the theme that neither configuration nor the style sheet mends: none is left.
KNOWN_FAULTS = frozenset()

# What fades in on a busy machine is half transparent when it is looked at, so nothing may move.
OPEN_EVERYTHING = """() => {
  const still = document.createElement("style");
  still.textContent = "*, ::before, ::after { animation: none !important; transition: none !important }";
  document.head.append(still);
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const hidden of document.querySelectorAll(".toggle-hidden")) hidden.classList.remove("toggle-hidden");
}"""

# To be quick: MathJax writes thousands of elements for formulas and hides them from assistive technology itself, and of
# the coloured words of code two of each kind on each ground tell as much as ten thousand.
THIN_OUT = """() => {
  for (const formula of document.querySelectorAll("mjx-container")) formula.replaceWith("formula");
  const seen = {};
  for (const word of document.querySelectorAll("pre span")) {
    const kind = word.className + " in " + word.closest("[class*=highlight]")?.className;
    seen[kind] = (seen[kind] ?? 0) + 1;
    if (seen[kind] > 2 && !word.children.length) word.replaceWith(word.textContent);
  }
  document.body.normalize();
}"""

TOO_WIDE = """width => [...document.querySelectorAll("body *")].filter(element => {
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.right <= width + 1) return false;
  for (let e = element; e && e !== document.body; e = e.parentElement) {
    const style = getComputedStyle(e);
    if (/auto|scroll|hidden|clip/.test(style.overflowX) && e !== element || style.visibility === "hidden") return false;
    if (style.position === "fixed") return false;
  }
  return !["auto", "scroll"].includes(getComputedStyle(element).overflowX) || box.width > width;
}).slice(0, 10).map(e => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`)"""


# What is wider than its box and neither shows nor scrolls.
CUT_OFF = """() => [...document.querySelectorAll(".bd-article *, .prev-next-footer *")].filter(element => {
  const style = getComputedStyle(element);
  return /hidden|clip/.test(style.overflowX) && element.clientWidth > 20 && element.scrollWidth > element.clientWidth + 2
    && !element.closest("mjx-assistive-mml, mjx-ext, .visually-hidden");
}).slice(0, 10).map(e => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 60)}`)"""

# A formula that was not recognised leaves its dollar sign in the text.
DOLLARS = """() => {
  const walker = document.createTreeWalker(document.querySelector(".bd-article") ?? document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent;
    const parent = walker.currentNode.parentElement;
    if (text.includes("$") && !parent.closest("pre, code, script, style, mjx-container")) found.push(text.trim().slice(0, 100));
  }
  return found;
}"""


def test_page_loads(visit, page_name):
    page = visit(page_name)
    assert page.title() and page.locator("h1").count() >= 1
    assert page.locator("mjx-merror, .output.traceback").count() == 0
    assert page.evaluate(DOLLARS) == []
    broken = page.evaluate("() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    assert not broken


def test_formulas_are_typeset(visit):
    page = visit("book/notation.html")
    assert page.locator("mjx-container").count() > 20
    assert page.evaluate("() => document.fonts.ready.then(f => [...f].some(x => x.family.startsWith('MJX')))")


def faults(page, options):
    """Serious and critical faults that axe-core finds, as text."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False} | options)
    return [
        f"{fault['id']}: {node['target']} {node['html'][:150]}"
        for fault in found.response["violations"]
        if fault["impact"] in ("serious", "critical") and fault["id"] not in KNOWN_FAULTS
        for node in fault["nodes"]
    ]


def test_nothing_serious_for_accessibility(visit, page_name):
    page = visit(page_name, reduced_motion="reduce")
    page.evaluate(OPEN_EVERYTHING)
    page.evaluate(THIN_OUT)
    found = faults(page, {})
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    page.wait_for_timeout(200)
    found += ["in dark mode: " + fault for fault in faults(page, {"runOnly": ["color-contrast"]})]
    assert not found, "\n".join(found)


def test_fits_a_phone(visit, page_name):
    page = visit(page_name, viewport={"width": 360, "height": 740}, has_touch=True)
    page.evaluate(OPEN_EVERYTHING)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(TOO_WIDE, 360) == []
    assert page.evaluate(CUT_OFF) == []
    page.evaluate(THIN_OUT)
    found = faults(page, {"runOnly": ["scrollable-region-focusable", "target-size"]})
    assert not found, "\n".join(found)


def test_formulas_break_like_text_and_keep_their_punctuation(visit):
    page = visit("notebooks/16_learning_providers.html", viewport={"width": 360, "height": 740})
    page.wait_for_function("() => document.documentElement.dataset.formulas === 'set'")
    page.evaluate(OPEN_EVERYTHING)
    inline = "mjx-container:not([display])"
    broken = page.evaluate(f"() => [...document.querySelectorAll('{inline}')].filter(f => f.getClientRects().length > 1).length")
    assert broken > 10
    alone = f"""() => [...document.querySelectorAll("{inline}")].filter(formula => {{
      const after = (formula.closest("span.math") ?? formula).nextSibling;
      return after?.nodeType === Node.TEXT_NODE && /^[.,;:)]/.test(after.data) && !formula.closest(".unbroken");
    }}).length"""
    assert page.evaluate(alone) == 0


def test_prints_without_the_navigation(visit):
    page = visit("notebooks/05_weighted_alignment.html")
    page.emulate_media(media="print")
    for selector in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", ".explorer input"):
        assert not page.locator(selector).first.is_visible(), selector
    assert page.locator(".explorer img, .explorer svg").first.is_visible()
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and len(pdf) > 100_000


def test_theme_can_be_switched_by_keyboard(visit):
    page = visit("book/how_to_use.html")
    button = page.locator("button.theme-switch-button:visible").first
    before = page.evaluate("document.documentElement.dataset.theme")
    seen = set()
    for _ in range(3):
        button.focus()  # the theme lets go of it
        page.keyboard.press("Enter")
        page.wait_for_timeout(150)
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert before == "light" and {"light", "dark"} <= seen


def test_search_finds_a_chapter(visit):
    page = visit("search.html?q=concavification")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() > 0


# Explorers


def check(box, data):
    """Whatever its controls say, an explorer shows what Python computed for exactly that."""
    values = [int(v) for v in box.evaluate("e => [...e.querySelectorAll('input, select')].map(c => c.value)")]
    says = box.locator(".says").text_content()
    outputs = box.locator("output").all_text_contents()
    spoken = box.evaluate("e => [...e.querySelectorAll('input')].map(c => c.getAttribute('aria-valuetext'))")
    if "frames" in data:
        place = 0
        for value, texts in zip(values, data["texts"], strict=True):
            place = place * len(texts) + value
        frame = data["frames"][place]
        image = box.locator("img")
        assert (says, image.get_attribute("alt")) == (frame["says"], frame["alt"])
        drawn = "><".join(data["parts"][n] for n in frame["svg"])
        assert image.evaluate("e => decodeURIComponent(e.src.slice(e.src.indexOf(',') + 1))") == drawn
        assert image.evaluate("e => e.decode().then(() => e.naturalWidth)") > 100
        types = box.evaluate("e => [...e.querySelectorAll('input, select')].map(c => c.type)")
        shown = [texts[v] for v, texts, kind in zip(values, data["texts"], types, strict=True) if kind == "range"]
        assert outputs == spoken == shown
    else:
        i, j = values
        row, k = [v / 1000 for v in data["rows"][j * len(data["x"]) + i]], len(data["names"])
        sentence = f"{data['user']} at ({data['x'][i]}, {data['y'][j]}) is {data['verdicts'][row[0] > 0]}: {data['error']} {row[0]:.3f}"
        sentence += f"; {data['bound']} {row[k + 3]:.3f}." if data["bound"] else "."
        assert says == sentence
        assert box.locator("svg").get_attribute("aria-label") == f"{data['title']}. {sentence}"
        assert outputs == spoken == [data["x"][i], data["y"][j]]
        weights = [float(w) for w in box.locator(".weight").all_text_contents()]
        assert all(abs(w - r) < 0.0051 for w, r in zip(weights, row[1 : k + 1], strict=True))
        alice, nearest = box.locator(".alice"), box.locator(".nearest")
        assert [float(alice.get_attribute(c)) for c in ("cx", "cy")] == [data["px"][i], data["py"][j]]
        where = re.fullmatch(r"translate\(([-\d.]+) ([-\d.]+)\)", nearest.get_attribute("transform"))
        assert [float(v) for v in where.groups()] == row[k + 1 : k + 3]
    return values


def boxes(page):
    """Every explorer of a page with the data embedded in it."""
    found = explorers_of((SITE / page.url.split(SUB_PATH)[-1]).read_text())
    return [(page.locator(".explorer").nth(n), e["data"]) for n, e in enumerate(found)]


def test_explorers_are_moved_by_keyboard(visit, explorer_page):
    page = visit(explorer_page)
    for box, data in boxes(page):
        check(box, data)
        controls = box.locator("input, select")
        for n in range(controls.count()):
            control = controls.nth(n)
            control.focus()
            seen = set()
            for key in ("Home", "ArrowRight", "ArrowUp", "End", "ArrowLeft", "ArrowDown", "Home", "ArrowDown"):
                page.keyboard.press(key)
                seen.add(tuple(check(box, data)))
            assert len(seen) > 1, "the keys move nothing"
            last = int(control.get_attribute("max") or control.locator("option").count() - 1)
            page.keyboard.press("End")
            assert check(box, data)[n] == last
            assert control.evaluate("e => e === document.activeElement")
        # From one control to the next by the tab key alone.
        controls.first.focus()
        for n in range(1, controls.count()):
            page.keyboard.press("Tab")
            assert controls.nth(n).evaluate("e => e === document.activeElement")


def test_explorers_are_moved_by_pointer(visit, explorer_page):
    page = visit(explorer_page)
    for box, data in boxes(page):
        controls = box.locator("input, select")
        for n in range(controls.count()):
            control, seen = controls.nth(n), set()
            control.scroll_into_view_if_needed()
            if control.get_attribute("type") == "range":
                where = control.bounding_box()
                page.mouse.move(where["x"] + where["width"] / 2, where["y"] + where["height"] / 2)
                page.mouse.down()
                for share in (0.02, 0.3, 0.7, 0.98):
                    page.mouse.move(where["x"] + share * where["width"], where["y"] + where["height"] / 2)
                    seen.add(check(box, data)[n])
                page.mouse.up()
            else:  # the open list belongs to the system, not to the page
                for option in range(control.locator("option").count()):
                    control.select_option(index=option)
                    seen.add(check(box, data)[n])
            assert len(seen) > 1, "the pointer moves nothing"


def on_screen(box, x, y):
    """Where a place of the drawing is on the screen."""
    transform = "(e, [x, y]) => { const p = new DOMPoint(x, y).matrixTransform(e.getScreenCTM()); return [p.x, p.y] }"
    return box.locator("svg").evaluate(transform, [x, y])


def places(data):
    """Three places of the lattice, far from one another."""
    return [(1, 2), (len(data["x"]) - 3, 1), (len(data["x"]) // 2, len(data["y"]) - 2)]


def test_alice_is_dragged_by_mouse(visit, explorer_page):
    page = visit(explorer_page)
    for box, data in boxes(page):
        if "rows" not in data:
            continue
        box.locator("svg").scroll_into_view_if_needed()
        i, j = check(box, data)
        page.mouse.move(*on_screen(box, data["px"][i], data["py"][j]))
        page.mouse.down()
        for i, j in places(data):
            page.mouse.move(*on_screen(box, data["px"][i], data["py"][j]), steps=3)
            assert check(box, data) == [i, j]
        page.mouse.up()
        page.mouse.move(*on_screen(box, data["px"][0], data["py"][0]))
        assert check(box, data) == [i, j], "let go, she stays"


test_alice_is_dragged_by_mouse.explorer_kind = "point"


def test_alice_is_dragged_by_finger(visit, explorer_page):
    page = visit(explorer_page, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    finger = page.context.new_cdp_session(page)

    def touch(kind, *points):
        at = [{"x": x, "y": y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    for box, data in boxes(page):
        if "rows" not in data:
            continue
        box.locator("svg").scroll_into_view_if_needed()
        i, j = check(box, data)
        before = page.evaluate("scrollY")
        touch("touchStart", on_screen(box, data["px"][i], data["py"][j]))
        for i, j in places(data):
            touch("touchMove", on_screen(box, data["px"][i], data["py"][j]))
        touch("touchEnd")
        page.wait_for_timeout(100)
        assert check(box, data) == list(places(data)[-1])
        assert page.evaluate("scrollY") == before, "a finger on Alice does not scroll the page"


test_alice_is_dragged_by_finger.explorer_kind = "point"


def test_offline_copy_works_from_a_folder(visit, site, tmp_path):
    with zipfile.ZipFile(site / ARCHIVE) as archive:
        archive.extractall(tmp_path)
    copy = tmp_path / "emergent-alignment-course"
    page = visit((copy / "notebooks" / "05_weighted_alignment.html").as_uri())
    assert page.locator("mjx-container").count() > 20
    for n, explorer in enumerate(explorers_of((copy / "notebooks" / "05_weighted_alignment.html").read_text())):
        box = page.locator(".explorer").nth(n)
        box.locator("input").first.focus()
        page.keyboard.press("End")
        check(box, explorer["data"])
    page.locator("a.right-next").click()
    page.wait_for_load_state()
    assert page.url.endswith("/notebooks/06_diversity.html") and page.locator("h1").count() >= 1


def test_pages_without_javascript_hold_the_default_frame(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + "notebooks/05_weighted_alignment.html")
    box = page.locator(".explorer").nth(1)
    assert box.locator("img").get_attribute("src").startswith("data:image/svg+xml,")
    assert json.loads(box.locator("script[type='application/json']").text_content())["frames"]
    assert "the controls need JavaScript" in box.locator("noscript").inner_html()
    context.close()
