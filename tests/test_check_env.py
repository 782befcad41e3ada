"""`python -m emergent_alignment.check_env` with everything there, and with each thing missing; the test fixtures too."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import emergent_alignment
from emergent_alignment import check_env

ROOT = Path(__file__).resolve().parent.parent
DECLARED = [
    Requirement(r) for r in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
]


def run(*flags):
    """Exit code and {label: (OK or FAIL, rest)} of the command, with the library on the path and nothing else."""
    command = [sys.executable, *flags, "-m", "emergent_alignment.check_env"]
    path = str(Path(check_env.__file__).parent.parent)
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stderr == ""
    lines = [re.match(r"(OK  |FAIL)  (.*?): (.*)", line) for line in done.stdout.splitlines()]
    return done.returncode, {line[2]: (line[1].strip(), line[3]) for line in lines if line}


def printed(capsys):
    code = check_env.main()
    lines = capsys.readouterr().out.splitlines()
    return (
        code,
        [line for line in lines if line.startswith("FAIL")],
        [line for line in lines if line.startswith("OK")],
    )


def test_everything_is_here():
    code, lines = run()
    assert [status for status, _ in lines.values()] == ["OK"] * (len(DECLARED) + 4)
    assert code == 0
    assert lines["Python >=3.11"][1] == ".".join(map(str, sys.version_info[:3]))


def test_without_any_package_each_is_named_with_its_fix():
    code, lines = run("-S")  # no site-packages at all
    assert code == 1
    assert lines["Python >=3.11"][0] == lines["data tables"][0] == "OK"
    for requirement in DECLARED:
        status, text = lines[f"{requirement.name} {check_env.requirements()[requirement.name]}"]
        assert (
            status == "FAIL"
            and "not installed" in text
            and "-m pip install" in text
            and requirement.name in text
        )
    assert lines["HiGHS solves"][0] == lines["cvxpy solves"][0] == "FAIL"


def test_the_list_is_that_of_the_project(monkeypatch, tmp_path):
    def same(found):
        return {name: SpecifierSet(wanted) for name, wanted in found.items()} == {
            requirement.name: requirement.specifier for requirement in DECLARED
        }

    assert same(check_env.requirements())
    monkeypatch.setattr(
        check_env, "HERE", tmp_path / "lib" / "package"
    )  # installed: no pyproject.toml beside it
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda _: [*map(str, DECLARED), "pytest>=8; extra == 'test'"]
    )
    assert same(check_env.requirements())


def test_a_missing_package(monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "pooch":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, failed, passed = printed(capsys)
    assert code == 1 and len(failed) == 1 and len(passed) == len(DECLARED) + 3
    assert failed[0].startswith("FAIL  pooch >=") and '-m pip install "pooch>=' in failed[0]


def test_an_old_package(monkeypatch, capsys):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.3.9" if name == "numpy" else real(name)
    )
    code, failed, _ = printed(capsys)
    assert code == 1 and len(failed) == 1
    assert failed[0].startswith("FAIL  numpy") and "found 1.3.9, needed >=" in failed[0]


def test_a_package_that_is_too_new(monkeypatch, capsys):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "99.0" if name == "highspy" else real(name)
    )
    code, failed, _ = printed(capsys)
    assert code == 1 and len(failed) == 1 and "found 99.0" in failed[0]


def test_a_package_that_is_broken(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # importing it raises ImportError
    code, failed, _ = printed(capsys)
    assert code == 1 and len(failed) == 1
    assert "tqdm" in failed[0] and "cannot be imported" in failed[0] and "--force-reinstall" in failed[0]


def test_a_broken_solver(monkeypatch, capsys):
    monkeypatch.setattr("emergent_alignment.persuasion.ProviderProgram.solve", lambda *_: 1 / 0)
    monkeypatch.setattr("cvxpy.Problem.solve", lambda *_, **__: 0.5)
    code, failed, _ = printed(capsys)
    assert code == 1 and len(failed) == 2
    assert failed[0].startswith("FAIL  HiGHS solves: no solution (ZeroDivisionError")
    assert failed[1].startswith("FAIL  cvxpy solves: gave 0.5 instead of 0.6")


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(check_env.sys, "version_info", (3, 10, 4, "final", 0))
    problem, _ = check_env.check_python()
    assert "found 3.10.4" in problem and "3.11 or newer" in problem


def test_no_list_of_packages(monkeypatch, capsys):
    monkeypatch.setattr(check_env, "requirements", dict)
    code, failed, _ = printed(capsys)
    assert code == 1 and failed[0].startswith("FAIL  list of packages")


@pytest.mark.parametrize(
    "content",
    [None, b"", b"a,b\n", b"a,b\n1,2\n3\n", b"a,b\n\xff\xfe,2\n"],
    ids=["no", "empty", "head", "cut", "bytes"],
)
def test_damaged_tables(tmp_path, content):
    if content is not None:
        (tmp_path / "table.csv").write_bytes(content)
    problem, _ = check_env.check_tables(tmp_path)
    assert problem and "git checkout" in problem
    assert content is None or "table.csv" in problem


def test_a_good_table(tmp_path):
    (tmp_path / "table.csv").write_text('name,value\n"one, two",1\n')
    assert check_env.check_tables(tmp_path)[0] is None


@pytest.mark.parametrize(
    "wanted", [">=1.26", ">=1.8,<1.16", "<2", "==1.15.1", "!=1.15", ">1.15,<=2.0", "", "<1.16.0,>=1.15.0"]
)
def test_versions_compare_as_pip_compares_them(wanted):
    for version in ("1.8", "1.15", "1.15.0", "1.15.1", "1.16", "1.16.0", "1.26.4", "2.0", "2.0.0", "10.1"):
        assert check_env.version_fits(version, wanted) == (version in SpecifierSet(wanted)), version
    assert check_env.version_fits("1.15.1.post2", ">=1.15") and not check_env.version_fits("2.0rc1", "<2")


def test_every_public_name_is_there():
    for name in emergent_alignment.__all__:
        assert getattr(emergent_alignment, name).__name__ == name
        assert name in dir(emergent_alignment)
    assert emergent_alignment.hull.align is emergent_alignment.align
    with pytest.raises(AttributeError, match="no attribute 'allign'"):
        emergent_alignment.allign
    with pytest.raises(ImportError):
        from emergent_alignment import allign  # noqa: F401


# The fixture for tests on raw data --------------------------------------------------------------------------


def test_without_raw_data_tests_fail_in_continuous_integration(request, monkeypatch):
    monkeypatch.delenv("EMERGENT_ALIGNMENT_DATA", raising=False)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="EMERGENT_ALIGNMENT_DATA"):
        request.getfixturevalue("data_dir")


def test_without_raw_data_tests_are_skipped_at_home(request, monkeypatch):
    monkeypatch.delenv("EMERGENT_ALIGNMENT_DATA", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="EMERGENT_ALIGNMENT_DATA"):
        request.getfixturevalue("data_dir")


def test_a_folder_that_is_not_there_is_a_failure(request, monkeypatch, tmp_path):
    monkeypatch.setenv("EMERGENT_ALIGNMENT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.fail.Exception, match="nowhere"):
        request.getfixturevalue("data_dir")


def test_the_folder_of_raw_data(request, monkeypatch, tmp_path):
    monkeypatch.setenv("EMERGENT_ALIGNMENT_DATA", str(tmp_path))
    assert request.getfixturevalue("data_dir") == tmp_path
