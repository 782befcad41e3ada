"""Votes of a town: their direction, the filled part of the table, and groups of people who vote alike."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergent_alignment import InputError
from emergent_alignment.datasets import SOURCES, DataError, Judgements, Source, raw_file
from emergent_alignment.datasets.polis import load_polis
from emergent_alignment.datasets.taste import dense_block, groups_by_taste, taste_groups


@pytest.fixture(scope="module")
def polis(raw_data):
    return load_polis(raw_data)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Four participants and three statements in the export's format; the third statement was rejected."""
    votes = "participant,group-id,n-comments,n-votes,n-agree,n-disagree,0,1,2\n"
    votes += "0,0,0,3,1,1,1,-1,0\n1,1,1,2,1,1,-1,1,\n2,1,0,1,0,0,0,,\n3,,0,1,0,1,,,-1\n"
    comments = "timestamp,datetime,comment-id,author-id,agrees,disagrees,moderated,comment-body\n"
    comments += '1518009999000,x,2,1,0,1,-1,"spam"\n1517603680340,x,0,0,1,1,1,"More, please"\n'
    comments += '1517603690000,x,1,0,1,1,1,"Less"\n'
    for name, text in (("polis_votes", votes), ("polis_comments", comments)):
        (tmp_path / f"{name}.csv").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setitem(SOURCES, name, Source(f"{name}.csv", "https://example.org", digest))
    return tmp_path


def judgements(utilities):
    utilities = np.asarray(utilities, dtype=float)
    people = pd.DataFrame({"number": range(len(utilities))})
    return Judgements(utilities, pd.DataFrame(index=range(utilities.shape[1])), people)


# The loader --------------------------------------------------------------------------------------------------


def test_votes_become_utilities_and_rejected_statements_are_left_out(made_up):
    polis = load_polis(made_up)
    np.testing.assert_array_equal(polis.utilities, [[1, 0], [0, 1], [0.5, np.nan], [np.nan, np.nan]])
    assert polis.items.index.tolist() == [0, 1]
    assert polis.items["statement"].tolist() == ["More, please", "Less"]
    assert polis.items["written"][0].strftime("%Y-%m-%d %H:%M") == "2018-02-02 20:34"
    assert polis.people["side"].tolist()[:3] == ["A", "B", "B"] and pd.isna(polis.people["side"][3])


def test_a_damaged_file_is_refused(made_up):
    (made_up / "polis_comments.csv").write_text("timestamp")
    with pytest.raises(DataError, match="not the file expected"):
        load_polis(made_up)


def test_the_genuine_conversation(polis):
    assert polis.utilities.shape == (2031, 607)
    assert np.unique(polis.utilities[~np.isnan(polis.utilities)]).tolist() == [0, 0.5, 1]
    assert 0.18 < 1 - np.isnan(polis.utilities).mean() < 0.185
    assert polis.people["side"].value_counts().to_dict() == {"B": 828, "A": 753}
    assert polis.items.index.is_monotonic_increasing and polis.items["statement"].str.len().min() > 0


def test_one_means_agree_by_the_counts_of_the_other_file(polis, raw_data):
    comments = pd.read_csv(raw_file("polis_comments", raw_data), index_col="comment-id").loc[
        polis.items.index
    ]
    agrees, disagrees = ((polis.utilities == u).sum(axis=0) for u in (1, 0))
    assert np.corrcoef(agrees, comments["agrees"])[0, 1] > 0.9999
    assert np.corrcoef(disagrees, comments["disagrees"])[0, 1] > 0.9999
    assert np.abs(agrees - comments["agrees"]).max() <= 13 and (agrees == comments["agrees"]).mean() > 0.7
    assert (agrees == comments["disagrees"]).mean() < 0.01  # the other way round nothing fits


def test_rejected_statements_hardly_have_votes(polis, raw_data):
    votes = pd.read_csv(raw_file("polis_votes", raw_data))
    rejected = [name for name in votes if name.isdigit() and int(name) not in polis.items.index]
    counts = votes[rejected].notna().sum()
    assert len(rejected) == 289 and counts.median() == 1 and counts.max() <= 32


def test_the_genuine_blocks(polis):
    people = dense_block(polis, 150, 300)
    assert people.utilities.shape == (150, 300) and not np.isnan(people.utilities).any()
    assert people.people["side"].value_counts().to_dict() == {"B": 78, "A": 72}
    wide = dense_block(polis, 400, 200)
    assert 0.93 < 1 - np.isnan(wide.utilities).mean() < 0.935
    groups = groups_by_taste(wide, 10)
    assert groups.utilities.shape == (39, 100)
    assert groups.sizes.tolist() == [10] * 39 and groups.answers.min() >= 5


# The filled part ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["people", "items"])
def test_a_filled_block_is_found_among_gaps(start):
    rng = np.random.default_rng(3)
    table = np.where(rng.random((60, 50)) < 0.8, np.nan, 0.5)
    rows, columns = np.arange(7, 47, 4), np.arange(3, 43, 5)
    table[np.ix_(rows, columns)] = 1
    block = dense_block(judgements(table), 10, 8, start)
    assert (block.utilities == 1).all()
    assert block.people["number"].tolist() == rows.tolist() and block.items.index.tolist() == columns.tolist()
    assert block.people.index.tolist() == list(range(10))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 9), st.sampled_from(["people", "items"]))
def test_no_exchange_of_one_person_or_item_fills_the_block_more(seed, people, items, start):
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((12, 9)) < 0.4, np.nan, rng.random((12, 9)))
    block = dense_block(judgements(table), people, items, start)
    answered = ~np.isnan(table)
    rows, columns = block.people["number"].to_numpy(), block.items.index.to_numpy()
    assert len(rows) == people and len(columns) == items and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(block.utilities, table[np.ix_(rows, columns)])
    best_rows = np.sort(answered[:, columns].sum(axis=1))[-people:].sum()
    best_columns = np.sort(answered[rows].sum(axis=0))[-items:].sum()
    assert answered[np.ix_(rows, columns)].sum() == best_rows == best_columns


def test_ties_go_to_whoever_comes_first():
    block = dense_block(judgements(np.ones((5, 4))), 3, 2)
    assert block.people["number"].tolist() == [0, 1, 2] and block.items.index.tolist() == [0, 1]


@pytest.mark.parametrize("people, items", [(6, 2), (2, 5), (0, 1), (1, 2.5)])
def test_a_block_must_fit_into_the_table(people, items):
    with pytest.raises(InputError, match="people|items"):
        dense_block(judgements(np.ones((5, 4))), people, items)


def test_a_block_starts_with_people_or_items():
    with pytest.raises(InputError, match="^start must be one of 'people', 'items'"):
        dense_block(judgements(np.ones((5, 4))), 2, 2, "films")


# Groups ------------------------------------------------------------------------------------------------------


def test_people_of_one_mind_stay_together():
    rng = np.random.default_rng(1)
    minds = rng.random((4, 30))
    true = rng.permutation(np.repeat(np.arange(4), 6))
    groups = taste_groups(minds[true] + rng.normal(0, 0.05, (24, 30)), 6)
    assert len(set(zip(true, groups))) == 4


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 60), st.integers(5, 20))
def test_groups_are_as_many_as_can_be_and_of_about_equal_size(seed, people, fewest):
    table = np.random.default_rng(seed).random((people, 7))
    if fewest > people:
        with pytest.raises(InputError, match="fewest"):
            taste_groups(table, fewest)
        return
    groups = taste_groups(table, fewest)
    sizes = np.bincount(groups)
    assert (
        len(sizes) == people // fewest and sizes.min() >= fewest and np.ptp(sizes) <= np.log2(len(sizes)) + 1
    )
    np.testing.assert_array_equal(groups, taste_groups(table + 3, fewest))  # a shift of all changes nothing


def test_groups_need_five_people_and_every_vote():
    with pytest.raises(InputError, match="fewest"):
        taste_groups(np.random.default_rng(0).random((20, 4)), 4)
    with pytest.raises(InputError, match="utilities"):
        taste_groups(np.full((20, 4), np.nan), 5)


def test_groups_judge_other_items_than_they_were_sorted_by():
    rng = np.random.default_rng(4)
    table = rng.random((30, 20))
    table[rng.random((30, 20)) < 0.05] = np.nan
    changed = table.copy()
    changed[:, 1::2] = 1 - changed[:, 1::2]
    first, second = groups_by_taste(judgements(table), 10), groups_by_taste(judgements(changed), 10)
    assert first.items.index.tolist() == list(range(1, 20, 2))
    np.testing.assert_allclose(first.utilities, 1 - second.utilities)  # the groups are the same


def test_group_means_are_those_of_their_members():
    table = np.random.default_rng(5).random((17, 8))
    table[2, 2] = np.nan
    filled = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
    members = taste_groups(filled[:, ::2], 5)
    cells = groups_by_taste(judgements(table), 5)
    assert cells.labels == ("group 01", "group 02", "group 03")
    for group, means in enumerate(cells.utilities):
        np.testing.assert_allclose(means, table[members == group][:, 1::2].mean(axis=0))


def test_an_item_without_answers_cannot_sort():
    table = np.random.default_rng(0).random((12, 6))
    table[:, 2] = np.nan
    with pytest.raises(InputError, match="nobody answered item 2"):
        groups_by_taste(judgements(table), 5)
