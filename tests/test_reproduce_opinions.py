"""Chapter 14's poll: the embedded table, and its provenance."""

import json

import pandas as pd

from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.reproduce import opinions


def test_the_embedded_table_is_computed_from_the_raw_file(raw_data):
    cells, table = opinions.opinion_table(raw_data)
    pd.testing.assert_frame_equal(table, load_table("opinion_cells"), check_dtype=False, atol=1e-4, rtol=0)
    assert cells.answers.min() >= opinions.FEWEST_IN_TABLE
    items = cells.items.reset_index()
    pd.testing.assert_frame_equal(items, load_table("opinion_items"), check_dtype=False)


def test_the_embedded_table_says_where_it_comes_from():
    origin = json.loads((data_folder() / "opinion_cells_provenance.json").read_text())
    table = load_table("opinion_cells")
    assert origin["cells"] == len(table) and origin["people"] == table["people"].sum()
    assert origin["items"] == len(load_table("opinion_items"))
    assert origin["fewest_answers_behind_any_value"] >= opinions.FEWEST_IN_TABLE
    assert "FiveThirtyEight" in origin["attribution"]
