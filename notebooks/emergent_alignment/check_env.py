"""Is everything here that the course needs? `python -m emergent_alignment.check_env`

One line for each requirement: OK, or FAIL with the fix. Exit code 1 if anything fails. At its top this module
imports the standard library alone, so that it also runs where packages are missing.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

DISTRIBUTION = "emergent-alignment-course"
OLDEST_PYTHON = (3, 11)
HERE = Path(__file__).resolve().parent


def requirements():
    """{package: version range} of the library, from pyproject.toml beside it or else from its installation."""
    project = HERE.parent.parent / "pyproject.toml"
    if project.is_file():
        block = re.search(r"^dependencies = \[(.*?)^\]", project.read_text(encoding="utf-8"), re.M | re.S)
        lines = re.findall(r'"([^"]+)"', block.group(1)) if block else []
    else:
        try:
            lines = importlib.metadata.requires(DISTRIBUTION) or []
        except importlib.metadata.PackageNotFoundError:
            lines = []
    found = (re.match(r"([\w.-]+)\s*([^;\s]*)$", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def version_fits(version, wanted):
    """Whether a version lies in a range such as ">=1.8,<1.16"; release numbers alone are compared."""
    compare = {
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
    for sign, bound in re.findall(r"(>=|<=|==|!=|>|<)\s*([\d.]+)", wanted):
        one, other = _release(version), _release(bound)
        length = max(len(one), len(other))
        one, other = (number + (0,) * (length - len(number)) for number in (one, other))
        if not compare[sign](one, other):
            return False
    return True


def check_python():
    """(problem or None, what was found) for the interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info[:2]) >= OLDEST_PYTHON:
        return None, found
    return f"found {found}; install Python 3.11 or newer, then: make PYTHON=python3.11", found


def check_package(name, wanted):
    """(problem or None, what was found) for a package: installed, new enough, and it can be imported."""
    fix = f'{sys.executable} -m pip install "{name}{wanted}"'
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed; {fix}", None
    if not version_fits(version, wanted):
        return f"found {version}, needed {wanted}; {fix}", version
    try:
        importlib.import_module(name.replace("-", "_"))
    except Exception as error:
        return f"{version} cannot be imported ({_first_line(error)}); {fix} --force-reinstall", version
    return None, version


def check_tables(folder=None):
    """(problem or None, what was found) for the small tables beside the notebooks."""
    places = [Path(folder)] if folder else [HERE / "data", HERE.parent / "data"]
    folder = next((place for place in places if place.is_dir()), places[-1])
    fix = "fetch the course again, for instance: git checkout -- notebooks/data"
    tables = sorted(folder.glob("*.csv"))
    if not tables:
        return f"no table in {folder}; {fix}", None
    for table in tables:
        try:
            with table.open(newline="", encoding="utf-8") as file:
                widths = [len(row) for row in csv.reader(file)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            return f"{table.name} cannot be read ({_first_line(error)}); {fix}", None
        if len(widths) < 2 or len(set(widths)) != 1:
            return f"{table.name} is empty or cut off; {fix}", None
    return None, f"{len(tables)} tables in {folder}"


def check_highs():
    """(problem or None, what was found): the prosecutor's linear program through HiGHS gives 0.6."""

    def solve():
        from emergent_alignment import judge_and_prosecutor, optimal_scheme

        return optimal_scheme(judge_and_prosecutor(), 0).provider_value

    return _solved(solve, "highspy")


def check_cvxpy():
    """(problem or None, what was found): the same optimum through cvxpy."""

    def solve():
        import cvxpy as cp

        convicted = cp.Variable(nonneg=True)  # probability of convicting an innocent
        limits = [convicted <= 1, 0.7 * convicted <= 0.3]
        return cp.Problem(cp.Maximize(0.3 + 0.7 * convicted), limits).solve(solver=cp.HIGHS)

    return _solved(solve, "cvxpy")


def main():
    """Print one line for each requirement; return 1 if any fails, else 0."""
    checks = [("Python >=3.11", check_python)]
    needed = requirements()
    for name, wanted in needed.items():
        checks.append((f"{name} {wanted}", lambda name=name, wanted=wanted: check_package(name, wanted)))
    checks += [("data tables", check_tables), ("HiGHS solves", check_highs), ("cvxpy solves", check_cvxpy)]
    failures = 0
    if not needed:
        print(
            "FAIL  list of packages: not found; install the course (pip install .) or run this inside its folder"
        )
        failures += 1
    for label, check in checks:
        problem, found = check()
        print(f"FAIL  {label}: {problem}" if problem else f"OK    {label}: {found}")
        failures += bool(problem)
    if failures:
        fix = "make the fixes above, or delete the folder .venv and run make again: it installs everything"
        print(f"{failures} of {len(checks)} requirements failed: {fix}.")
    return int(failures > 0)


def _solved(solve, package):
    fix = (
        f"mend what fails above; if nothing does, {sys.executable} -m pip install --force-reinstall {package}"
    )
    try:
        value = float(solve())
    except Exception as error:
        return f"no solution ({_first_line(error)}); {fix}", None
    if abs(value - 0.6) > 1e-6:
        return f"gave {value:.6g} instead of 0.6; {fix}", None
    return None, "the prosecutor convicts with probability 0.6"


def _release(version):
    """(1, 15, 1) for "1.15.1rc2"."""
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part)


def _first_line(error):
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
