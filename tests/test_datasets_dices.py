"""Safety ratings: which way round they are, whose they are, and what the experts say."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment.datasets import SOURCES, DataError, Source, raw_file
from emergent_alignment.datasets.dices import load_dices


@pytest.fixture(scope="module")
def dices(raw_data):
    return load_dices(raw_data)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Three raters, two conversations, and the experts' file in another order."""

    def save(ratings, verdicts):
        for name, answers in (("dices_ratings", ratings), ("dices_gold", verdicts)):
            rows = [
                {"id": i, "instance": {}, "annotations": {"safety": {"individual_human_scores": scores}}}
                for i, scores in answers.items()
            ]
            text = json.dumps({"instances": rows})
            (tmp_path / f"{name}.json").write_text(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            monkeypatch.setitem(SOURCES, name, Source(f"{name}.json", "https://example.org", digest))
        return tmp_path

    return save


def answers(name, raw_data):
    rows = json.loads(raw_file(name, raw_data).read_text())["instances"]
    return {row["id"]: row for row in rows}


def test_no_means_safe_and_the_experts_are_matched_by_number(made_up):
    folder = made_up({9: ["No", "Yes", "Unsure"], 4: ["Yes", "Yes", "No"]}, {4: ["Yes"], 9: ["No"]})
    dices = load_dices(folder)
    np.testing.assert_array_equal(dices.utilities, [[1, 0], [0, 0], [0.5, 1]])  # (raters, items)
    assert dices.items.index.tolist() == [9, 4] and dices.items["expert"].tolist() == [1, 0]
    assert dices.people["rater"].tolist() == [0, 1, 2]


def test_a_damaged_file_is_refused(made_up):
    folder = made_up({1: ["No"]}, {1: ["No"]})
    (folder / "dices_gold.json").write_text("{}")
    with pytest.raises(DataError, match="not the file expected"):
        load_dices(folder)


def test_the_genuine_ratings(dices):
    assert dices.utilities.shape == (123, 350) and not np.isnan(dices.utilities).any()
    assert {value: int((dices.utilities == value).sum()) for value in (0, 0.5, 1)} == {
        0: 14064,
        0.5: 2694,
        1: 26292,
    }
    assert dices.items["expert"].sum() == 175 and dices.items.index.is_unique
    assert (np.ptp(dices.utilities, axis=1) == 0).sum() == 1  # one rater answers always the same


def test_the_derived_tables_say_the_same(dices, raw_data):
    """The tables of `unsafe` votes that were made from these files for first experiments."""
    folder = raw_file("dices_ratings", raw_data).parent
    if not (folder / "rater_by_item.csv").is_file():
        pytest.skip("the derived tables are not part of the publisher's data")
    table = pd.read_csv(folder / "rater_by_item.csv", index_col=0)
    assert table.columns.astype(int).tolist() == dices.items.index.tolist()
    np.testing.assert_array_equal(1 - table.to_numpy(), dices.utilities)
    gold = pd.read_csv(folder / "gold.csv", index_col="item_id")["gold_unsafe"]
    np.testing.assert_array_equal((gold == "No").loc[dices.items.index], dices.items["expert"] == 1)


def test_the_question_in_the_file_is_the_wrong_way_round(dices, raw_data):
    """Refusals must be safer than a guide to weapons, whatever the file asks."""
    file = json.loads(raw_file("dices_ratings", raw_data).read_text())
    assert "Is the model response safe?" in file["annotations"][0]["prompt"]
    replies = {i: row["instance"]["response"] for i, row in answers("dices_ratings", raw_data).items()}
    safety = pd.Series(dices.utilities.mean(axis=0), dices.items.index)

    def mean_safety(*words):
        return safety[[i for i, reply in replies.items() if any(word in reply.lower() for word in words)]]

    refusals = mean_safety("i can't do that", "i won't do that", "i don't make blanket statements")
    assert len(refusals) >= 3 and refusals.min() > 0.6 and refusals.mean() > 0.8
    harmful = mean_safety("pipe bomb", "3d printed firearms", "i'm a republican", "i like joe biden")
    assert len(harmful) >= 3 and harmful.max() < 0.2


def test_raters_and_experts_point_the_same_way(dices):
    expert = dices.items["expert"].to_numpy()
    mean = dices.utilities.mean(axis=0)
    assert 0.4 < np.corrcoef(mean, expert)[0, 1] < 0.6
    assert mean[expert == 1].mean() > mean[expert == 0].mean() + 0.15
    varied = dices.utilities[np.ptp(dices.utilities, axis=1) > 0]
    assert np.median([np.corrcoef(row, expert)[0, 1] for row in varied]) > 0.2


def test_a_place_in_the_list_belongs_to_one_rater(dices):
    unsafe = dices.utilities == 0
    halves = unsafe[:, ::2].mean(axis=1), unsafe[:, 1::2].mean(axis=1)
    assert np.corrcoef(*halves)[0, 1] > 0.95
    shuffled = np.random.default_rng(0).permuted(unsafe, axis=0)
    halves = shuffled[:, ::2].mean(axis=1), shuffled[:, 1::2].mean(axis=1)
    assert abs(np.corrcoef(*halves)[0, 1]) < 0.3
