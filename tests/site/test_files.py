"""What the built site consists of, read without a browser: links, sizes, explorers, the offline copy."""

import gzip
import math
import re
import zipfile
from functools import cache
from html import unescape
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from built_site import ARCHIVE, SITE, explorers_in_sources, explorers_of, pages
from html_tags import tags_of

PAGE_LIMIT, EXPLORERS_LIMIT, ARCHIVE_LIMIT = 1_500_000, 300_000, 20_000_000
# What a page loads by itself; a link (`a`) may lead anywhere, but only a reader who follows it leaves the site.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


@cache
def read(page):
    return (SITE / page).read_text(encoding="utf-8")


@cache
def anchors(page):
    return {a[key] for _, a in tags_of(read(page)) for key in ("id", "name") if a.get(key)}


def target_of(page, link):
    """The file a link leads to, and its fragment; None for another host or a data address."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path = (SITE / page).parent / unquote(parts.path) if parts.path else SITE / page
    return path.resolve(), unquote(parts.fragment)


def test_no_link_or_anchor_is_broken(site, page_name):
    broken = []
    for tag, attributes in tags_of(read(page_name)):
        link = attributes.get("href") or attributes.get("src")
        target = target_of(page_name, link) if link else None
        if target is None or tag == "base":
            continue
        path, fragment = target
        if not path.is_file() or not path.is_relative_to(SITE.resolve()):
            broken.append(f"{link}: no such file")
        elif fragment and path.suffix == ".html":
            name = path.relative_to(SITE.resolve()).as_posix()
            if fragment not in anchors(name):
                broken.append(f"{link}: no such anchor")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_another_host(site, page_name):
    outside = []
    for tag, attributes in tags_of(read(page_name)):
        link = attributes.get(LOADED.get(tag, ""), "")
        if link and target_of(page_name, link) is None and not link.startswith("data:"):
            outside.append(f"{tag} {link}")
    assert not outside


def test_style_sheets_stay_on_the_site(site):
    for path in SITE.rglob("*.css"):
        for link in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text()):
            link = "".join(link)
            assert not re.match(r"(https?:)?//", link), f"{path.name}: {link}"


def test_page_is_small(site, page_name):
    html = read(page_name)
    size = len(gzip.compress(html.encode()))
    for link in {a.get("src", "") for tag, a in tags_of(html) if tag == "img"}:
        if target := target_of(page_name, link):
            size += target[0].stat().st_size
    assert size < PAGE_LIMIT
    explorers = "".join(e["html"] for e in explorers_of(html))
    assert len(gzip.compress(explorers.encode())) < EXPLORERS_LIMIT


def test_no_page_shows_an_error(site, page_name):
    html = read(page_name)
    assert 'class="output traceback' not in html and "Traceback (most recent call last)" not in html


def test_every_figure_of_a_chapter_says_what_it_shows(site, page_name):
    """Alternative text that is a sentence, not the name of a file; and every chapter has a figure."""
    figures = [a for tag, a in tags_of(read(page_name)) if tag == "img" and "_images/" in a.get("src", "")]
    assert figures or not page_name.startswith("notebooks/")
    for attributes in figures:
        alt = attributes.get("alt", "")
        assert len(alt) > 30 and " " in alt and "_images" not in alt, attributes


# Explorers: every one that a code cell makes is on its page, with every frame that Python drew.


def test_every_explorer_reached_its_page(site):
    """A function may make several explorers with one call, so a page may show more than there are calls."""
    made = {page: n for page, n in explorers_in_sources().items() if page in pages()}
    found = {page: len(explorers_of(read(page))) for page in pages()}
    assert {page for page, n in found.items() if n} == set(made) != set()
    assert all(found[page] >= n for page, n in made.items())


def settings_to_check(texts):
    """Places of the lowest, the highest and a middle setting among all combinations, the last control moving fastest."""
    total = math.prod(map(len, texts))
    return [0, total - 1, total // 2]


def test_explorers_draw_at_their_extremes(site, explorer_page):
    for explorer in explorers_of(read(explorer_page)):
        if explorer["kind"] != "frames":
            continue
        texts, frames, parts = (explorer["data"][key] for key in ("texts", "frames", "parts"))
        assert len(frames) == math.prod(map(len, texts))
        chosen = r'type="range"[^>]* value="(\d+)"|<option value="(\d+)" selected'
        default = [int(a or b) for a, b in re.findall(chosen, explorer["html"])]
        place = 0
        for at, values in zip(default, texts, strict=True):
            place = place * len(values) + at
        shown = re.search(r'<img class="dark-light" alt="(.*?)"', explorer["html"])[1]
        assert unescape(shown) == frames[place]["alt"]
        pictures = set()
        for i in {place, *settings_to_check(texts)}:
            frame = frames[i]
            where, rest = [], i
            for label, values in zip(reversed(explorer["labels"]), reversed(texts), strict=True):
                rest, at = divmod(rest, len(values))
                where.insert(0, f"{unescape(label)} {values[at]}")
            assert frame["alt"] == f"{', '.join(where)}: {frame['says']}"
            assert len(frame["says"]) > 20
            svg = "><".join(parts[n] for n in frame["svg"])
            drawn = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}path") and e.get("d")]
            assert len(drawn) > 10, "an empty picture"
            pictures.add(svg)
        assert len(pictures) > 1, "a control that changes nothing"


def test_point_explorers_know_every_place(site):
    for page in pages():
        for explorer in explorers_of(read(page)):
            if explorer["kind"] == "point":
                data = explorer["data"]
                assert len(data["rows"]) == len(data["x"]) * len(data["y"])
                assert len({len(row) for row in data["rows"]}) == 1
                errors = [row[0] for row in data["rows"]]
                assert min(errors) == 0 < max(errors), "Alice can be both in the hull and out of it"


# The offline copy


@pytest.fixture(scope="session")
def archive(site):
    with zipfile.ZipFile(site / ARCHIVE) as opened:
        yield opened


def test_offline_copy_is_the_site(site, archive):
    names = {n.removeprefix("emergent-alignment-course/") for n in archive.namelist()}
    assert set(pages()) <= names and ARCHIVE not in names
    assert (SITE / ARCHIVE).stat().st_size < ARCHIVE_LIMIT
    same = archive.read("emergent-alignment-course/notebooks/05_weighted_alignment.html")
    assert same == (SITE / "notebooks/05_weighted_alignment.html").read_bytes()


def test_site_offers_the_offline_copy_and_the_copy_does_not(site, archive):
    assert ARCHIVE in read("book/how_to_use.html")
    for page in pages():
        assert ARCHIVE.encode() not in archive.read(f"emergent-alignment-course/{page}"), page
