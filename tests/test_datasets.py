"""The loaders: where a file may come from, what an answer becomes, and who may stand behind an average."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import InputError, datasets
from emergent_alignment.datasets import (
    DataError,
    Judgements,
    Source,
    demographic_cells,
    load_poll,
    load_table,
    poll_items,
    raw_file,
    sources,
)


@pytest.fixture(scope="module")
def poll(raw_data):
    return load_poll(raw_data)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A made-up raw file of 40 people with the poll's columns, registered as the genuine one."""
    rng = np.random.default_rng(1)
    items = poll_items()
    raw = pd.DataFrame({item: rng.choice(list(codes), 40) for item, codes in items["codes"].items()})
    raw["Q19_10"] = -1
    raw["Q30"] = np.tile([1, 2, 3, 4, 5, -1, 1, 2], 5)
    raw["ppage"] = np.tile([22, 34, 35, 49, 50, 64, 65, 94], 5)
    for name in ("race", "gender", "educ", "income_cat", "voter_category"):
        raw[name] = "same"
    raw["weight"] = 1.0
    folder = tmp_path / "fivethirtyeight_nonvoters"
    folder.mkdir()
    path = folder / "nonvoters_data.csv"

    def save(table):
        table.to_csv(path, index=False)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        source = Source(
            "fivethirtyeight_nonvoters/nonvoters_data.csv", "https://example.org/poll.csv", digest
        )
        monkeypatch.setitem(datasets.SOURCES, "nonvoters", source)
        return tmp_path

    return raw, save


# Files -------------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_refused_with_both_hashes(made_up):
    raw, save = made_up
    folder = save(raw)
    path = folder / "fivethirtyeight_nonvoters" / "nonvoters_data.csv"
    expected = datasets.SOURCES["nonvoters"].sha256
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError) as error:
        load_poll(folder)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    for part in (str(path), expected, found, "https://example.org/poll.csv"):
        assert part in str(error.value)


def test_a_truncated_genuine_file_is_refused(raw_data, tmp_path):
    path = tmp_path / "nonvoters_data.csv"
    path.write_bytes(raw_file("nonvoters", raw_data).read_bytes()[:100_000])
    with pytest.raises(DataError, match="not the file expected"):
        load_poll(tmp_path)


def test_the_folder_comes_from_the_argument_then_from_the_environment(made_up, monkeypatch, tmp_path):
    raw, save = made_up
    folder = save(raw)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(folder))
    assert raw_file("nonvoters").parent.parent == folder
    assert raw_file("nonvoters", folder / "fivethirtyeight_nonvoters").name == "nonvoters_data.csv"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="data_dir is"):
        raw_file("nonvoters", empty)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(empty))
    with pytest.raises(DataError, match=f"environment variable {datasets.DATA_VARIABLE}"):
        raw_file("nonvoters")


def test_without_a_folder_the_publisher_is_asked_and_a_failure_says_what_to_do(monkeypatch, tmp_path):
    asked = []

    def refuse(url, known_hash, *_):
        asked.append((url, known_hash))
        raise OSError("no network")

    monkeypatch.delenv(datasets.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(sources.pooch, "retrieve", refuse)
    monkeypatch.setattr(sources.pooch, "os_cache", lambda _: tmp_path)
    with pytest.raises(DataError, match="no network.*EMERGENT_ALIGNMENT_DATA"):
        raw_file("nonvoters")
    source = datasets.SOURCES["nonvoters"]
    assert asked == [(source.url, f"sha256:{source.sha256}")]


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="name must be one of 'nonvoters'"):
        raw_file("nonvoter")
    with pytest.raises(InputError, match="opinion_cells"):
        load_table("opinion_cell")


# Answers -----------------------------------------------------------------------------------------------------


def test_answers_become_utilities_in_the_stated_direction(made_up):
    raw, save = made_up
    raw.loc[:4, "Q2_1"] = [1, 2, 3, 4, -1]
    raw.loc[:4, "Q14"] = [1, 2, 3, 5, -1]
    raw.loc[:3, "Q23"] = [1, 3, 2, -1]
    raw.loc[:2, "Q5"] = [1, 2, -1]
    ticks = [f"Q19_{i}" for i in range(1, 11)]
    raw.loc[0, ticks] = [1] + [-1] * 9
    raw.loc[1, ticks] = -1
    raw.loc[2, ticks] = [-1] * 9 + [1]  # ticked "other" alone: not a refusal
    poll = load_poll(save(raw))
    column = {item: poll.utilities[:, i] for i, item in enumerate(poll.items.index)}
    np.testing.assert_allclose(column["Q2_1"][:5], [1, 2 / 3, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(column["Q14"][:5], [1, 0.75, 0.5, 0, np.nan])
    np.testing.assert_allclose(column["Q23"][:4], [1, 0.5, 0, np.nan])
    np.testing.assert_allclose(column["Q5"][:3], [1, 0, np.nan])
    np.testing.assert_allclose(column["Q19_1"][:3], [1, np.nan, 0])
    np.testing.assert_allclose(column["Q19_9"][:3], [0, np.nan, 0])


def test_people_are_described_in_the_stated_bands(made_up):
    raw, save = made_up
    people = load_poll(save(raw)).people
    assert people["age"][:8].tolist() == ["under 35"] * 2 + ["35-49"] * 2 + ["50-64"] * 2 + ["65+"] * 2
    assert people["party"][:5].tolist() == ["Republican", "Democrat", "Independent"] + ["Other or none"] * 2
    assert people["party"].isna().sum() == 5  # refused
    assert "RespId" not in people and "ppage" not in people


def test_items_can_be_chosen_by_kind(made_up):
    raw, save = made_up
    folder = save(raw)
    counts = {kind: load_poll(folder, kind).utilities.shape[1] for kind in datasets.KINDS}
    assert counts == {"judgement": 55, "experience": 20, "behaviour": 10}
    assert load_poll(folder, datasets.KINDS).utilities.shape[1] == 85
    for kinds in ("opinion", (), ("judgement", 3)):
        with pytest.raises(InputError, match="kinds"):
            load_poll(folder, kinds)


def test_every_item_is_described_once():
    items = poll_items()
    assert items.index.is_unique and len(items) == 85
    assert items["statement"].is_unique and items["statement"].str.endswith(".").all()
    assert not items.duplicated(["topic", "label"]).any()
    assert (items[["label", "best", "worst"]].apply(lambda c: c.str.len()) > 0).all(axis=None)


def test_the_genuine_poll(poll):
    assert poll.utilities.shape == (5836, 55)
    assert np.nanmin(poll.utilities) == 0 and np.nanmax(poll.utilities) == 1
    assert 0.985 < 1 - np.isnan(poll.utilities).mean() < 0.995
    complete = poll.complete()
    assert not np.isnan(complete.utilities).any() and 4900 < len(complete.people) < 5100
    party = poll.people["party"].to_numpy()
    trump = poll.utilities[:, poll.items.index.get_loc("Q23")]
    assert np.nanmean(trump[party == "Republican"]) > 0.8
    assert np.nanmean(trump[party == "Democrat"]) < 0.2
    wanted = poll.utilities[:, poll.items.index.get_loc("Q14")]  # Republicans want my vote
    assert np.nanmean(wanted[party == "Republican"]) > np.nanmean(wanted[party == "Democrat"]) + 0.3


# Cells -------------------------------------------------------------------------------------------------------


def small_poll(answers, group):
    items = pd.DataFrame(index=[f"item {i}" for i in range(np.shape(answers)[1])])
    return Judgements(np.array(answers, dtype=float), items, pd.DataFrame({"group": group, "weight": 1.0}))


def test_cell_means_sizes_and_standard_errors_by_hand():
    answers = [[0, 1], [0, 1], [1, 1], [1, 1], [0.5, 0], [1, np.nan]] + [[0, 1]] * 5
    cells = demographic_cells(small_poll(answers, list("aaaaaabbbbb")), "group")
    assert cells.labels == ("a", "b")
    np.testing.assert_allclose(cells.utilities, [[3.5 / 6, 0.8], [0, 1]])
    assert cells.sizes.tolist() == [6, 5] and cells.answers.tolist() == [5, 5]
    np.testing.assert_allclose(cells.errors[0, 1], np.sqrt(0.2 / 5))  # spread of 1,1,1,1,0 is 0.2
    noise = (np.mean(cells.errors[0] ** 2) / np.var(cells.utilities[0]) + 0) / 2
    assert cells.noise_share() == pytest.approx(noise)
    # The other cell taken off, a is at (7/12, -1/5) and b at the opposite: (47/120)^2 is the variance of both.
    # The answers 0, 0, 1, 1, 1/2, 1 spread by 174/144/5; those of b do not.
    noise = (174 / 144 / 5 / 6 + 0.2 / 5) / 2 / (47 / 120) ** 2
    assert cells.noise_share(remove_consensus=True) == pytest.approx((noise + 0) / 2)


def test_a_single_cell_has_no_others_to_be_compared_with():
    alone = demographic_cells(small_poll([[0, 1], [1, 1], [0, 1], [0, 0], [0, 1]], list("aaaaa")), "group")
    assert alone.labels == ("a",) and alone.noise_share() > 0
    with pytest.raises(InputError, match="^remove_consensus needs at least two cells"):
        alone.noise_share(remove_consensus=True)


def test_a_cell_with_too_few_answers_on_a_single_item_is_left_out():
    answers = [[1, 1]] * 5 + [[0, 0]] * 4 + [[0, np.nan]]
    cells = demographic_cells(small_poll(answers, ["a"] * 5 + ["b"] * 5), "group")
    assert cells.labels == ("a",)
    with pytest.raises(InputError, match="leaves no cell"):
        demographic_cells(small_poll(answers, ["a"] * 5 + ["b"] * 5), "group", minimum=6)


def test_groups_are_columns_of_people():
    poll = small_poll([[0, 1]] * 12, ["a"] * 5 + [None] * 7)
    twice = demographic_cells(poll, ("group", "group"))
    assert twice.labels == demographic_cells(poll, "group").labels
    nobody = small_poll([[0, 1]] * 12, [None] * 12)
    for who, by, message in (
        (poll, 3, "^by must be"),
        (poll, "side", "^by must be one of"),
        (nobody, "group", "has 0 answers"),
    ):
        with pytest.raises(InputError, match=message):
            demographic_cells(who, by)


def test_people_without_a_group_belong_to_no_cell():
    cells = demographic_cells(small_poll([[0, 1]] * 12, ["a"] * 5 + [None] * 7), "group")
    assert cells.labels == ("a",) and cells.sizes.tolist() == [5]


@pytest.mark.parametrize("minimum", [4, 0, -1, 5.5, True])
def test_nobody_may_ask_for_averages_of_fewer_than_five_people(minimum):
    with pytest.raises(InputError, match="minimum"):
        demographic_cells(small_poll([[0, 1]] * 12, ["a"] * 12), "group", minimum=minimum)


@pytest.mark.parametrize("by", ["weight", "height", ()])
def test_unknown_groupings_are_refused(by):
    with pytest.raises(InputError, match="by"):
        demographic_cells(small_poll([[0, 1]] * 12, ["a"] * 12), by)


def test_bad_judgements_and_masks_are_refused():
    with pytest.raises(InputError, match="poll"):
        demographic_cells(np.zeros((3, 3)))
    with pytest.raises(InputError, match="keep"):
        small_poll([[0, 1]] * 3, ["a"] * 3).where([1, 0, 1])


def test_five_people_stand_behind_every_mean_of_the_genuine_cells(poll):
    cells = demographic_cells(poll)
    keys = poll.people[["race", "gender", "education", "income", "age"]].agg(", ".join, axis=1)
    for label, mean in zip(cells.labels[::20], cells.utilities[::20]):
        rows = poll.utilities[(keys == label).to_numpy()]
        assert ((~np.isnan(rows)).sum(axis=0) >= 5).all()
        np.testing.assert_allclose(np.nanmean(rows, axis=0), mean)
    assert len(cells.utilities) == 236 and cells.answers.min() >= 5


# The tables beside the notebooks -----------------------------------------------------------------------------


def test_the_embedded_cells_are_averages_of_many_people():
    table = load_table("opinion_cells")
    origin = json.loads((datasets.data_folder() / "opinion_cells_provenance.json").read_text())
    means = table.drop(columns=["party", "age", "education", "people"])
    assert means.columns.tolist() == load_table("opinion_items")["item"].tolist()
    assert means.columns.tolist() == poll_items(("judgement",)).index.tolist()
    assert ((means >= 0) & (means <= 1)).all(axis=None)
    assert origin["fewest_answers_behind_any_value"] >= 20 and table["people"].min() >= 20
    assert (origin["cells"], origin["items"], origin["people"]) == (*means.shape, table["people"].sum())
    assert not table.duplicated(["party", "age", "education"]).any()


def test_no_person_can_be_read_off_the_embedded_cells(poll):
    table = load_table("opinion_cells")
    means = table.drop(columns=["party", "age", "education", "people"]).to_numpy()
    answers = poll.complete().utilities
    nearest = min(np.abs(answers - row).max(axis=1).min() for row in means)
    assert nearest > 0.2  # no cell is anybody's row of answers
    used = poll.people[["party", "age", "education"]].dropna().groupby(["party", "age", "education"]).size()
    assert used.min() >= 20 and len(used) == len(table)


def test_every_table_is_explained_and_none_is_raw():
    folder = datasets.data_folder()
    explained = (folder / "README.md").read_text()
    known = {source.sha256 for source in datasets.SOURCES.values()}
    for path in folder.glob("*.csv"):
        assert path.name in explained
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in known
        assert not {"RespId", "weight"} & set(path.read_text().split("\n", 1)[0].split(","))
