"""Raw files: where they are published, and how a copy is found, fetched and checked.

A file is used only if its SHA-256 is the one written here. A file that is fetched appears under its name only
when it is complete and correct; whatever else was downloaded is deleted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from .._validation import one_of

DATA_VARIABLE = "EMERGENT_ALIGNMENT_DATA"


class DataError(ValueError):
    """A data file is missing, damaged or not the one expected; the message names it and the fix."""


@dataclass(frozen=True)
class Source:
    """A raw file: its path inside the data folder, its publisher's address and its SHA-256.

    member : the file's path inside the archive (zip or tar) at that address; None if the address is the file.
    """

    path: str
    url: str
    sha256: str
    member: str | None = None


GITHUB = "https://raw.githubusercontent.com"
MOVIELENS = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
ETHICS = "https://people.eecs.berkeley.edu/~hendrycks/ethics.tar"
# Addresses with a commit, where publishers have moved or changed their files since.
DICES = f"{GITHUB}/dmg-illc/JUDGE-BENCH/185c6942a38f1e5c8801f70e48ea08d274562140/data/dices"
POLIS = f"{GITHUB}/compdemocracy/openData"

SOURCES = {
    "nonvoters": Source(
        path="fivethirtyeight_nonvoters/nonvoters_data.csv",
        url=f"{GITHUB}/fivethirtyeight/data/master/non-voters/nonvoters_data.csv",
        sha256="c3a8e5b5a2a82e137f60a63c073326f642a7794c91d8e56fc63195efcf0098f8",
    ),
    "movielens_ratings": Source(
        path="movielens_latest_small/ratings.csv",
        url=MOVIELENS,
        sha256="80da8b3393dae325bbba5a31f291a6ba55d8d4f4396de3c456f2c1635b1b70e8",
        member="ml-latest-small/ratings.csv",
    ),
    "movielens_movies": Source(
        path="movielens_latest_small/movies.csv",
        url=MOVIELENS,
        sha256="c47b783f23eb304413307e1bb05335e427737da20ec8d3c0e96335567dd5f3dc",
        member="ml-latest-small/movies.csv",
    ),
    "ethics_train": Source(
        path="ethics/util_train.csv",
        url=ETHICS,
        sha256="5779d8f89788a687f30ee8930ebcaf4a272e6917f59f98bbf1550a4963e58b69",
        member="ethics/utilitarianism/util_train.csv",
    ),
    "ethics_test": Source(
        path="ethics/util_test.csv",
        url=ETHICS,
        sha256="e44bc24dd488696b64e515403efdefd36d89a6d71868b64a5261f035116ec850",
        member="ethics/utilitarianism/util_test.csv",
    ),
    "ethics_test_hard": Source(
        path="ethics/util_test_hard.csv",
        url=ETHICS,
        sha256="5b6cd41d9ee7ea621516f1cf271c7c2b3ac640cd0d7da91b8177aa3944c85861",
        member="ethics/utilitarianism/util_test_hard.csv",
    ),
    "dices_ratings": Source(
        path="dices350/dices_350_crowdsourced.json",
        url=f"{DICES}/dices_350_crowdsourced.json",
        sha256="9f9694948fc4f734220866fc6fdff397b5207058e0c4d4f9a49d5ab98702c2a4",
    ),
    "dices_gold": Source(
        path="dices350/dices_350_expert.json",
        url=f"{DICES}/dices_350_expert.json",
        sha256="687c75d1ffda680874b1ff73edace6916d39e265490dd69d8480a5f5fcf0ba55",
    ),
    "polis_votes": Source(
        path="polis_bowling_green/participants-votes.csv",
        url=f"{POLIS}/ddbf0a0bcc13e71549e1317cc0493ad71b002677/bowling-green.american-assembly/participants-votes.csv",
        sha256="63c6e30c36d9f5338516f3a0c77b08e3518c20b707b321e26c54cd6218a2ab4d",
    ),
    "polis_comments": Source(
        path="polis_bowling_green/comments.csv",
        url=f"{POLIS}/3fa0a18d4bfe105980d7252dc15f48d9921fa1ce/american-assembly.bowling-green/comments.csv",
        sha256="b5d72fbb1b15d66c624da51849aef3d5691358b6ec646035b9ca41c6b9f936f0",
    ),
}


def raw_file(name: str, data_dir=None) -> Path:
    """Path of a raw file whose SHA-256 has been checked.

    Parameters
    ----------
    name : a key of SOURCES.
    data_dir : folder that holds the file under its path in SOURCES, or directly. If omitted, the folder named
        by the environment variable EMERGENT_ALIGNMENT_DATA; if that is not set either, the file is fetched
        from its publisher into the user's cache folder (once).

    Raises
    ------
    InputError for an unknown name.
    DataError if the file is not there, cannot be fetched, or is not the file expected.
    """
    one_of(name, "name", tuple(SOURCES))
    source = SOURCES[name]
    folder = data_dir if data_dir is not None else os.environ.get(DATA_VARIABLE) or None
    if folder is None:
        return _fetch(source)
    places = [Path(folder) / source.path, Path(folder) / Path(source.path).name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        origin = "data_dir" if data_dir is not None else f"the environment variable {DATA_VARIABLE}"
        raise DataError(
            f"{places[0]} does not exist ({origin} is {str(folder)!r}). Put {_what(source)} there, "
            f"or leave out data_dir and unset {DATA_VARIABLE} to have it fetched."
        )
    try:
        found = _sha256(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error}). Make it readable, or put a copy elsewhere."
        ) from error
    if found != source.sha256:
        raise DataError(
            f"{path} is not the file expected: its SHA-256 is {found}, expected {source.sha256}. It is "
            f"damaged, incomplete or another version. Delete it and download {source.url} again."
        )
    return path


def _what(source):
    return f"{source.member} from the archive {source.url}" if source.member else f"the file of {source.url}"


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(source):
    """The file in the user's cache folder, fetched if it is not there or has been damaged since."""
    cache = Path(pooch.os_cache("emergent-alignment"))
    path = cache / source.path
    try:
        if path.is_file() and _sha256(path) == source.sha256:
            return path
        cache.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the last step is a rename: all or nothing.
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            known = None if source.member else f"sha256:{source.sha256}"
            fetched = Path(pooch.retrieve(source.url, known, "download", scratch))
            if source.member:
                fetched = _extract(fetched, source.member, Path(scratch) / "member")
            found = _sha256(fetched)
            if found != source.sha256:
                raise DataError(f"its SHA-256 is {found}")
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fetched, path)
    except (
        Exception
    ) as error:  # no connection, a refused certificate, a file that has changed at the publisher
        raise DataError(
            f"{_what(source)} could not be fetched with SHA-256 {source.sha256} ({type(error).__name__}: "
            f"{error}). Download it by other means into a folder as {source.path}, and name that folder as "
            f"data_dir (--data on the command line) or in the environment variable {DATA_VARIABLE}."
        ) from error
    return path


def _extract(archive, member, target):
    """Copy one member of a zip or tar archive to `target`; nothing else in it is unpacked."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content, content.open(member) as inside, open(target, "wb") as out:
            shutil.copyfileobj(inside, out)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as content:
            inside = content.extractfile(member)
            if inside is None:
                raise KeyError(f"{member} is not a file in the archive")
            with inside, open(target, "wb") as out:
                shutil.copyfileobj(inside, out)
    else:
        raise DataError("what was downloaded is neither a zip nor a tar archive")
    return target
