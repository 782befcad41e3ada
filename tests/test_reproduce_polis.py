"""The votes of a town: levels and examples."""

import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.datasets.polis import load_polis
from emergent_alignment.experiments import alignment_curves, summarise
from emergent_alignment.reproduce import polis, tables


@pytest.fixture(scope="module")
def levels(raw_data):
    return polis.polis_levels(raw_data)


def test_the_levels_are_what_they_say(levels):
    people, groups = levels["individuals"], levels["groups"]
    assert people.utilities.shape == (150, 300) and groups.utilities.shape == (39, 100)
    assert groups.fewest_answers >= 5 and groups.people == 390
    for name in ("own_side", "other_side"):
        assert set(levels[name].groups) == {"A", "B"} and levels[name].utilities is not None
        np.testing.assert_array_equal(levels[name].utilities, people.utilities)
    assert 0 < groups.noise_share < levels["groups_no_consensus"].noise_share < 1


def test_the_examples_are_counts_of_many_people_in_our_words(raw_data):
    table, raw = load_table("polis_examples"), load_polis(raw_data)
    pd.testing.assert_frame_equal(polis.polis_examples(raw_data), table, check_dtype=False, atol=1e-4)
    assert table["voters"].min() >= 300
    np.testing.assert_allclose(table[["agree", "passed", "disagree"]].sum(axis=1), 1, atol=2e-4)
    for item, words in polis.EXAMPLES.items():
        said = raw.items.loc[item, "statement"].lower().split()
        ours = words.lower().split()
        runs = {" ".join(said[i : i + 5]) for i in range(len(said) - 4)}
        assert not runs & {" ".join(ours[i : i + 5]) for i in range(len(ours) - 4)}  # no five words in a row


def test_fewer_statements_to_fit_on_are_as_many_as_the_name_says(levels):
    fewer = polis.fewer_statements(levels["individuals"])
    assert list(fewer) == ["individuals_60_statements", "individuals_120_statements"]
    for (name, level), (count, share) in zip(fewer.items(), polis.FEWER.items()):
        assert round((1 - share) * level.utilities.shape[1]) == count and str(count) in level.meaning
        curves = alignment_curves(level.utilities, [5], polis.PLAN.draws, polis.PLAN.seed, share)
        stored = load_table("polis_alignment").query("level == @name and k == 5").reset_index(drop=True)
        again = tables.rounded(summarise(curves, name))
        pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)


def test_the_attribution_is_the_one_that_the_publisher_asks_for():
    origin = json.loads((data_folder() / "polis_provenance.json").read_text())
    wanted = "sub-licensed under CC BY 4.0 with Attribution to The Computational Democracy Project"
    assert wanted in origin["attribution"]
