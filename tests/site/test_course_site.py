"""The Sphinx extension of the course, without a build: addresses, scripts, the offline copy."""

import importlib.util
import zipfile
from types import SimpleNamespace

import pytest
from built_site import ARCHIVE, ROOT

SPEC = importlib.util.spec_from_file_location("course_site", ROOT / "book" / "_extensions" / "course_site.py")
course_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(course_site)


def configured(monkeypatch, url, branch=None):
    monkeypatch.setenv("COURSE_REPOSITORY", url)
    monkeypatch.delenv("COURSE_BRANCH", raising=False)
    if branch:
        monkeypatch.setenv("COURSE_BRANCH", branch)
    config = SimpleNamespace(html_theme_options={"show_toc_level": 2})
    course_site.offer_the_repository(None, config)
    return config.html_theme_options


def test_without_a_repository_nothing_is_offered(monkeypatch):
    assert configured(monkeypatch, "") == {"show_toc_level": 2}
    text = [f"pip install git+{course_site.PLACEHOLDER}"]
    course_site.name_the_repository(None, "book/how_to_use", text)
    assert text == [f"pip install git+{course_site.PLACEHOLDER}"]


@pytest.mark.parametrize("url", ["https://github.com/a/b", "https://github.com/a/b/", "https://github.com/a/b.git"])
def test_buttons_and_commands_lead_to_the_repository(monkeypatch, url):
    options = configured(monkeypatch, url)
    assert (options["repository_url"], options["repository_branch"]) == ("https://github.com/a/b", "main")
    assert options["launch_buttons"]["binderhub_url"] and options["launch_buttons"]["colab_url"]
    assert options["show_toc_level"] == 2
    text = [(ROOT / "book" / "how_to_use.md").read_text()]
    course_site.name_the_repository(None, "book/how_to_use", text)
    assert "git+https://github.com/a/b\n" in text[0] and course_site.PLACEHOLDER not in text[0]


def test_branch_is_taken_over_and_colab_needs_github(monkeypatch):
    options = configured(monkeypatch, "https://gitlab.com/a/b", "draft")
    assert options["repository_branch"] == "draft" and not options["launch_buttons"]["colab_url"]


def test_only_chapters_have_launch_buttons():
    metadata = {"index": {"kernelspec": {}}, "notebooks/01_x": {"kernelspec": {}}}
    course_site.leave_buttons_to_chapters(None, SimpleNamespace(metadata=metadata))
    assert "kernelspec" not in metadata["index"] and "kernelspec" in metadata["notebooks/01_x"]


def test_numbers_and_differences_stay_together_in_text_only():
    from docutils import nodes
    from docutils.utils import new_document

    page = new_document("page")
    text = nodes.paragraph("", "", nodes.Text("In 95 % and 5 % of cases, OPT − 2ε, x % 2, "), nodes.literal("", "n = 95 %"))
    page += [text, nodes.literal_block("", "print(95 % 7)")]
    course_site.keep_together(None, page, "page")
    space = "\N{NO-BREAK SPACE}"
    assert page.astext() == f"In 95{space}% and 5{space}% of cases, OPT{space}−{space}2ε, x % 2, n = 95 %\n\nprint(95 % 7)"


def test_names_break_in_tables_only_and_links_start_with_a_word():
    code = '<code><span class="pre">test_ab.b_cd(x)</span></code>'
    solution = '<p>Solution to<a class="reference" href="#ex"> Exercise 1</a></p>'
    context = {"script_files": [], "body": f"<p>{code}</p><td><p>{code} a_b</p></td>{solution}"}
    course_site.mend_page(None, "page", "page.html", context, None)
    broken = code.replace("test_ab.b_cd(x)", "test_<wbr>ab.<wbr>b_cd(x)")
    assert context["body"] == (
        f'<p>{code}</p><td><p>{broken} a_b</p></td><p>Solution to <a class="reference" href="#ex">Exercise 1</a></p>'
    )


def test_a_line_that_comes_in_two_pieces_stays_one_line():
    def stream(text, name="stdout"):
        return {"output_type": "stream", "name": name, "text": text}

    picture = {"output_type": "display_data", "data": {}}
    found = course_site.join_streams([stream("a"), picture, stream(" b\nc"), stream("x", "stderr"), stream("\n")])
    assert found == [stream("a b\nc\n"), picture, stream("x", "stderr")]
    assert course_site.join_streams([]) == []


def test_every_script_stays_once():
    def script(filename, **attributes):
        return SimpleNamespace(filename=filename, attributes=attributes)

    scripts = [script("a.js"), script(None, body="let a"), script("a.js"), script(None, body="let a"),
               script(None, body="const THEBE_JS_URL"), script("sphinx-thebe.js"), script(None, body="let b")]  # fmt: skip
    context = {"script_files": scripts, "body": '<div role="list" class="citation-list"><p>'}
    course_site.mend_page(None, "index", "page.html", context, None)
    assert context == {
        "script_files": [scripts[0], scripts[1], scripts[6]],
        "body": '<div class="citation-list"><p>',
    }


def test_offline_copy_is_the_same_for_the_same_site(tmp_path):
    site = tmp_path / "html"
    (site / "_static" / "mathjax").mkdir(parents=True)
    for name in ("tex-chtml.js", "tex-svg-full.js"):
        (site / "_static" / "mathjax" / name).write_text("x")
    (site / "index.html").write_text('<p>Stays.</p>\n<p class="offline-copy">Goes,\nall of it.</p>')
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=str(site))
    course_site.pack(app, None)
    first = (site / ARCHIVE).read_bytes()
    (site / "index.html").touch()
    course_site.pack(app, None)
    assert (site / ARCHIVE).read_bytes() == first
    with zipfile.ZipFile(site / ARCHIVE) as archive:
        folder = "emergent-alignment-course"
        assert archive.namelist() == [f"{folder}/_static/mathjax/tex-chtml.js", f"{folder}/index.html"]
        assert archive.read(f"{folder}/index.html") == b"<p>Stays.</p>\n"


@pytest.mark.parametrize(("kind", "exception"), [("latex", None), ("html", RuntimeError())])
def test_nothing_is_packed_for_other_builders_or_after_a_failure(tmp_path, kind, exception):
    course_site.pack(SimpleNamespace(builder=SimpleNamespace(format=kind), outdir=str(tmp_path)), exception)
    assert not list(tmp_path.iterdir())
