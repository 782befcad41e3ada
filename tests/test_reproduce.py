"""The command that computes full-scale results, and how it writes files."""

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import reproduce
from emergent_alignment.datasets import DataError
from emergent_alignment.reproduce import tables


# The command line --------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused(capsys):
    assert reproduce.main(["opinion"]) == 1
    message = capsys.readouterr().err
    assert "Unknown name 'opinion'. Choose" in message and "opinions" in message and "or all." in message


def test_a_missing_folder_is_refused_and_nothing_is_written(tmp_path, capsys):
    assert (
        reproduce.main(["opinions", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    )
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_runs_everything_with_the_options_given(tmp_path, monkeypatch):
    seen = []
    for name in list(reproduce.EXPERIMENTS):
        monkeypatch.delitem(reproduce.EXPERIMENTS, name)
    for name in ("one", "two"):
        monkeypatch.setitem(
            reproduce.EXPERIMENTS, name, lambda *a, name=name, **b: seen.append((name, a, b["n_jobs"])) or {}
        )
    options = ["--data", "d", "--out", str(tmp_path), "--draws", "7", "--jobs", "2", "--cache", str(tmp_path)]
    assert reproduce.main(["all", *options]) == 0
    assert seen == [("one", ("d", tmp_path, 7), 2), ("two", ("d", tmp_path, 7), 2)]


def test_what_cannot_be_computed_does_not_keep_the_others_from_it(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise DataError("the model is missing")

    for name in list(reproduce.EXPERIMENTS):
        monkeypatch.delitem(reproduce.EXPERIMENTS, name)
    monkeypatch.setitem(reproduce.EXPERIMENTS, "one", fail)
    monkeypatch.setitem(reproduce.EXPERIMENTS, "two", lambda *_, **__: {"table": None})
    assert reproduce.main(["all", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "one: the model is missing" in said.err and "Not computed: one." in said.err
    assert "two: wrote table.csv" in said.out


def test_places_that_cannot_be_used_are_refused_without_a_traceback(tmp_path, monkeypatch, capsys):
    file = tmp_path / "file"
    file.write_text("")
    for name in list(reproduce.EXPERIMENTS):
        monkeypatch.delitem(reproduce.EXPERIMENTS, name)
    monkeypatch.setitem(reproduce.EXPERIMENTS, "one", lambda *_, cache, **__: open(f"{cache}/draw"))
    assert reproduce.main(["one", "--out", str(file)]) == 1
    assert f"--out: {file} is not a folder." in capsys.readouterr().err
    assert reproduce.main(["one", "--out", str(tmp_path), "--cache", str(file)]) == 1
    assert "one: " in capsys.readouterr().err


def test_an_interruption_is_reported_as_such(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setitem(reproduce.EXPERIMENTS, "opinions", interrupt)
    assert reproduce.main(["opinions"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    tables.write(path, "old")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(tables.os, "replace", fail)
        tables.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_rounding_leaves_no_solver_digits_and_no_negative_zero():
    table = pd.DataFrame({"x": [0.123456, -0.00001, 1234.5678, np.nan, np.inf], "n": range(5)})
    x = tables.rounded(table)["x"].tolist()
    assert x[:3] == [0.1235, 0.0, 1235.0] and not np.signbit(x[1])
    assert np.isnan(x[3]) and np.isinf(x[4]) and table["x"][0] == 0.123456


