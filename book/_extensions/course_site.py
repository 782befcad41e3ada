"""What the site needs and configuration alone cannot give.

- The address of the repository comes from the environment variable COURSE_REPOSITORY, so that every fork publishes its own;
  without it a page has no launch buttons that would lead nowhere.
- Faults of the theme and its extensions are mended: scripts that are included twice (an error in the browser's
  console) or need another host, a list of references that is no list to a screen reader, a link that starts with a blank,
  printed lines that are torn in two.
- Figures can be enlarged, and lines break where a reader expects it: not between a number and its per cent, and in a
  table inside long names.
- The built site is packed for readers without a network.
"""

import functools
import os
import re
import zipfile
from pathlib import Path

from docutils import nodes

REPOSITORY_VARIABLE, BRANCH_VARIABLE = "COURSE_REPOSITORY", "COURSE_BRANCH"
PLACEHOLDER = "https://github.com/OWNER/NAME"
ARCHIVE = "emergent-alignment-course.zip"
# MathJax comes as several bundles, of which a page loads one.
UNUSED = ("tex-svg*.js", "tex-mml-*.js", "mml-*.js", "tex-chtml-full*.js", "node-main.js")


def repository():
    """The address of the repository, without a slash at its end, or an empty string."""
    return os.environ.get(REPOSITORY_VARIABLE, "").strip().rstrip("/").removesuffix(".git")


def offer_the_repository(app, config):
    """Buttons that open a page's notebook elsewhere, and one for the repository."""
    if url := repository():
        config.html_theme_options = config.html_theme_options | {
            "repository_url": url,
            "repository_branch": os.environ.get(BRANCH_VARIABLE) or "main",
            "use_repository_button": True,
            "launch_buttons": {
                "binderhub_url": "https://mybinder.org",
                # Colab opens notebooks from GitHub only.
                "colab_url": "https://colab.research.google.com" if "//github.com/" in url else "",
                "notebook_interface": "jupyterlab",
            },
        }


def name_the_repository(app, docname, source):
    """Commands in the text name the repository where it is known."""
    if url := repository():
        source[0] = source[0].replace(PLACEHOLDER, url)


def leave_buttons_to_chapters(app, env):
    """The front page runs code too, but is no notebook that Binder or Colab could open."""
    for docname, metadata in env.metadata.items():
        if not docname.startswith("notebooks/"):
            metadata.pop("kernelspec", None)


def keep_together(app, doctree, docname):
    """No line break between a number and its per cent, or around a minus, in text and not in code."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.math):
            kept = re.sub(r"(?<=\d) (?=%)|(?<=\w) (?=− \w)|(?<=−) (?=\w)", "\N{NO-BREAK SPACE}", text)
            if kept != text:
                text.parent.replace(text, nodes.Text(kept))


def join_streams(outputs):
    """The outputs of a cell with all that it printed in one piece.

    The kernel may send a line in two pieces, and myst-nb would end a line after each.
    """
    joined, streams = [], {}
    for output in outputs:
        first = streams.get(output.get("name")) if output["output_type"] == "stream" else None
        if first is not None:
            first["text"] += output["text"]
            continue
        if output["output_type"] == "stream":
            streams[output["name"]] = output
        joined.append(output)
    return joined


def mend_streams():
    """Hand myst-nb, which merges streams, what is joined already."""
    from myst_nb.core import render

    merge = getattr(render, "coalesce_streams", None)
    if merge is not None and not hasattr(merge, "__wrapped__"):

        @functools.wraps(merge)
        def merged(outputs):
            return merge(join_streams(outputs))

        render.coalesce_streams = merged


def link_figures(app, doctree, docname):
    """A figure leads to its file, in which a phone can enlarge it: Sphinx links images of which a width is given."""
    for image in doctree.findall(nodes.image):
        image.setdefault("width", "auto")


def let_names_break(cell):
    """A cell of a table in which long names of code may break after an underscore or a point."""
    return re.sub(
        r'(?<=<span class="pre">)[^<]+',
        lambda name: re.sub(r"(?<=\w{3})([_.])(?=\w{2})", r"\1<wbr>", name[0]),
        cell[0],
    )


def mend_page(app, pagename, templatename, context, doctree):
    """Every script once, none for live code by another host's kernel, and what is wrong in the page's text."""
    kept = {}
    for script in context.get("script_files", ()):
        filename, attributes = getattr(script, "filename", script), getattr(script, "attributes", {})
        body = str(attributes.get("body", ""))
        if "thebe" not in f"{filename} {body}".lower():
            kept.setdefault((str(filename), body), script)
    context["script_files"] = list(kept.values())
    if "body" in context:
        body = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        body = re.sub(r"(Solution to)(<a [^>]*>) ", r"\1 \2", body)
        context["body"] = re.sub(r"<td>.*?</td>", let_names_break, body, flags=re.DOTALL)


def pack(app, exception):
    """The offline copy, in which everything but the search's excerpts works straight from a folder."""
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for pattern in UNUSED:
        for path in (site / "_static" / "mathjax").glob(pattern):
            path.unlink()
    with zipfile.ZipFile(site / ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for p in site.rglob("*") if p.is_file()):
            name = path.relative_to(site).as_posix()
            if name in (ARCHIVE, ".buildinfo", "objects.inv"):
                continue
            content = path.read_bytes()
            if name.endswith(".html"):  # no invitation to download what the reader already has
                content = re.sub(rb'<p class="offline-copy">.*?</p>', b"", content, flags=re.DOTALL)
            # A fixed date: the same site gives the same archive.
            entry = zipfile.ZipInfo(f"emergent-alignment-course/{name}", (2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def setup(app):
    mend_streams()
    app.connect("config-inited", offer_the_repository)
    app.connect("source-read", name_the_repository)
    app.connect("env-updated", leave_buttons_to_chapters)
    app.connect("doctree-resolved", keep_together)
    app.connect("doctree-resolved", link_figures)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", pack)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
