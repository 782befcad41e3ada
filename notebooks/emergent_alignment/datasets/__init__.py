"""Real data: where it comes from, how it becomes utilities, and the small tables beside the notebooks.

Raw files are never part of the course. They are read from a folder, or fetched from their publisher, and used
only if their SHA-256 is the one written here. What the course stores are averages over groups of people and
results computed from the raw files by :mod:`emergent_alignment.reproduce`.
"""

from .dices import load_dices
from .ethics import load_pairs
from .judgements import FEWEST_PEOPLE, Cells, Judgements, demographic_cells
from .movies import load_movies
from .polis import load_polis
from .poll import KINDS, load_poll, poll_items
from .sources import DATA_VARIABLE, SOURCES, DataError, Source, raw_file
from .tables import data_folder, load_table
from .taste import dense_block, groups_by_taste, taste_groups

__all__ = [
    "DATA_VARIABLE",
    "FEWEST_PEOPLE",
    "KINDS",
    "SOURCES",
    "Cells",
    "DataError",
    "Judgements",
    "Source",
    "data_folder",
    "demographic_cells",
    "dense_block",
    "groups_by_taste",
    "load_dices",
    "load_movies",
    "load_pairs",
    "load_polis",
    "load_poll",
    "load_table",
    "poll_items",
    "raw_file",
    "taste_groups",
]
