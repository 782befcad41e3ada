"""The pairs of ETHICS: reading, keeping splits apart, and judges who score single scenarios."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import InputError, datasets
from emergent_alignment.datasets import DataError, Source
from emergent_alignment.datasets.ethics import (
    SPLITS,
    load_pairs,
    pair_differences,
    scenario_groups,
    scenarios,
    without_scenarios_of,
)
from emergent_alignment.judges import load_scores
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Write made-up bytes as the genuine file of the test split; returns the folder."""

    def write(content):
        path = tmp_path / "util_test.csv"
        path.write_bytes(content.encode())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(
            datasets.SOURCES, "ethics_test", Source("ethics/util_test.csv", "https://example.org", digest)
        )
        return tmp_path

    return write


@pytest.fixture(scope="module")
def splits(raw_data):
    return {split: load_pairs(split, raw_data) for split in SPLITS}


def pairs_of(*rows, split="made"):
    index = pd.Index([f"{split}-{i}" for i in range(len(rows))], name="pair")
    return pd.DataFrame(rows, columns=["more", "less"], index=index)


# Reading ----------------------------------------------------------------------------------------------------


def test_a_row_is_a_pair_with_the_more_pleasant_scenario_first(save):
    folder = save('"I fed a duck, and it sang. ",I fed a duck.\n NA ,"He said ""no""."\n')
    pairs = load_pairs("test", folder)
    assert pairs.index.tolist() == ["test-0", "test-1"] and pairs.index.name == "pair"
    assert pairs["more"].tolist() == ["I fed a duck, and it sang.", "NA"]  # a text, and no missing value
    assert pairs["less"].tolist() == ["I fed a duck.", 'He said "no".']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one\ntwo\n", "two columns.*it has 1"),
        ("a,b,c\n", "two columns.*it has 3"),
        ("a,b\nc, \n", "empty scenario in row 2"),
        ("a,b\nc,d,e\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_file_of_another_form_is_refused(save, content, message):
    with pytest.raises(DataError, match=message):
        load_pairs("test", save(content))


def test_a_damaged_file_and_an_unknown_split_are_refused(save):
    folder = save("a,b\n")
    (folder / "util_test.csv").write_text("a,c\n")
    with pytest.raises(DataError, match="not the file expected"):
        load_pairs("test", folder)
    with pytest.raises(InputError, match="split must be one of 'train', 'test', 'test_hard'"):
        load_pairs("hard", folder)


def test_the_splits_are_those_of_the_paper(splits):
    assert {split: len(pairs) for split, pairs in splits.items()} == {
        "train": 13738,
        "test": 4808,
        "test_hard": 4272,
    }
    for split, pairs in splits.items():
        assert pairs.index[-1] == f"{split}-{len(pairs) - 1}"
        assert (pairs["more"] != pairs["less"]).all()
        assert pairs.map(lambda text: text == text.strip() != "").all(axis=None)


# Keeping texts apart ----------------------------------------------------------------------------------------


def test_pairs_with_a_known_scenario_are_left_out():
    mine = pairs_of(("a b", "c"), ("d", "E  f"), ("g", "h"))
    others = pairs_of(("x", "A  B")), pairs_of(("e f", "y"))
    assert without_scenarios_of(mine, *others).index.tolist() == ["made-2"]
    assert without_scenarios_of(mine).equals(mine)


def test_the_genuine_splits_share_scenarios_until_they_are_taken_apart(splits):
    train, test, hard = splits.values()
    apart = without_scenarios_of(train, test, hard)
    assert 11000 < len(apart) < 12000 and len(without_scenarios_of(apart, test, hard)) == len(apart)
    texts = [
        {" ".join(text.lower().split()) for text in table.to_numpy().ravel()} for table in (apart, test, hard)
    ]
    assert not texts[0] & (texts[1] | texts[2]) and texts[1] & texts[2]


def test_linked_pairs_are_one_group():
    chain = pairs_of(("a", "b"), ("c", "d"), ("B ", "e"), ("f", "c"), ("g", "h"), ("e", "a"))
    assert scenario_groups(chain).tolist() == [0, 1, 0, 1, 2, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=14))
def test_groups_are_the_finest_split_without_shared_scenarios(rows):
    pairs = pairs_of(*((f"s{a}", f"s{b}") for a, b in rows))
    groups = scenario_groups(pairs)
    reached = [{a, b} for a, b in rows]
    for _ in rows:  # brute force: what can be reached from each pair
        reached = [set().union(*(other for other in reached if other & mine)) for mine in reached]
    for i, mine in enumerate(reached):
        for j, other in enumerate(reached):
            assert (groups[i] == groups[j]) == bool(mine & other)
    first_seen = list(dict.fromkeys(groups.tolist()))
    assert first_seen == list(range(len(first_seen)))


@pytest.mark.parametrize("bad", [pd.DataFrame({"more": ["a"]}), "a", pairs_of().iloc[:0]])
def test_what_is_no_table_of_pairs_is_refused(bad):
    for function in (scenario_groups, scenarios, without_scenarios_of):
        with pytest.raises(InputError, match="tables of pairs"):
            function(bad)


# Judges who score single scenarios --------------------------------------------------------------------------


def test_scores_of_scenarios_become_differences_of_pairs():
    pairs = pairs_of(*((f"good {i}", f"bad {i}") for i in range(40)))
    items = scenarios(pairs)
    assert items.index.name == "item" and sorted(items) == sorted(pairs.to_numpy().ravel())
    letters = items[items.str.startswith("good")].index.str[-1]
    assert 10 < (letters == "a").sum() < 30  # the letter does not tell which is the more pleasant one
    agrees = items.str.startswith("good").astype(float)
    scores = pd.DataFrame({"agrees": agrees, "opposes": 0.8 - 0.5 * agrees, "indifferent": 0.3})
    shuffled = scores.sample(frac=1, random_state=1)
    differences = pair_differences(shuffled)
    assert sorted(differences.index) == sorted(pairs.index) and differences.index.name == "pair"
    np.testing.assert_allclose(differences["agrees"], 1)
    np.testing.assert_allclose(differences["opposes"], -0.5)
    np.testing.assert_allclose(differences["indifferent"], 0)


def test_a_file_of_scores_is_read_by_the_judges_own_reader(tmp_path):
    items = scenarios(pairs_of(("x", "y"), ("u", "v")))
    path = tmp_path / "scores.csv"
    values = [0.9 if text in "xu" else 0.4 for text in items]
    rows = [
        f"{item},{value},{'' if item == 'made-1-b' else value}" for item, value in zip(items.index, values)
    ]
    path.write_text("\n".join(["item,first,second", *rows]))
    differences = pair_differences(load_scores(path))
    assert differences.index.tolist() == ["made-0"]  # the second judge has no opinion on one half of made-1
    np.testing.assert_allclose(differences.to_numpy(), 0.5)


@pytest.mark.parametrize(
    ("items", "values", "message"),
    [
        (["test-1-a", "test-1"], [1, 1], "must be named as"),
        (["test-1-a", "test-1-a"], [1, 1], "must be named as"),
        (["test-1-a", "test-2-b"], [1, 1], "no pair"),
        (["test-1-a", "test-1-b"], [1, np.nan], "no pair"),
        ([], [], "not empty"),
    ],
)
def test_scores_that_make_no_pair_are_refused(items, values, message):
    with pytest.raises(InputError, match=message):
        pair_differences(pd.DataFrame({"judge": values}, index=items))
