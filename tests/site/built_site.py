"""What the tests of the site share: where it is, its pages, and the explorers on them."""

import ast
import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("COURSE_SITE") or ROOT / "_build" / "html")
SUB_PATH = "/some/sub/path/"
ARCHIVE = "emergent-alignment-course.zip"


def pages():
    """Every page of the site, as its path; templates among the theme's static files are none."""
    found = (p.relative_to(SITE) for p in SITE.rglob("*.html"))
    return sorted(p.as_posix() for p in found if "_static" not in p.parts)


def explorers_of(html):
    """The data of every explorer on a page, in order, with its kind, its HTML and the labels of its controls."""
    found = []
    for part in html.split('<div class="explorer" ')[1:]:
        data = re.search(r'<script type="application/json">(.*?)</script>', part, re.DOTALL)
        found.append(
            {
                "kind": re.match(r'data-kind="(\w+)"', part)[1],
                "html": part[: part.index("</script>\n</div>")],
                "labels": re.findall(r"<label><span>(.*?)</span>", part[: data.start()]),
                "data": json.loads(data[1]),
            }
        )
    return found


def explorers_in_sources():
    """How many calls that make an explorer the code cells of each chapter and of the front page hold, by page."""
    # A code cell of the front page: a fence, options between dashes or after colons, the code, a fence.
    code_cell = r"```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n|(?::[^\n]*\n)*)(.*?)```"
    cells = {"index.html": re.findall(code_cell, (ROOT / "index.md").read_text(), re.DOTALL)}
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        notebook = json.loads(path.read_text())
        code = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
        cells[f"notebooks/{path.stem}.html"] = ["".join(source) for source in code]
    count = {}
    for page, sources in cells.items():
        calls = (n for s in sources for n in ast.walk(ast.parse(s)) if isinstance(n, ast.Call))
        count[page] = sum(getattr(call.func, "id", "") in ("FrameExplorer", "PointExplorer") for call in calls)
    return {page: n for page, n in count.items() if n}
