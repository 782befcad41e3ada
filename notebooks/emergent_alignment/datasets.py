"""Real data: where it comes from, how it becomes utilities, and the small tables beside the notebooks.

Raw files are never part of the course. They are read from a folder, or fetched from their publisher, and used
only if their SHA-256 is the one written here. What the course stores are averages over groups of people and
results computed from the raw files by :mod:`emergent_alignment.reproduce`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from ._validation import InputError, one_of, whole_number

DATA_VARIABLE = "EMERGENT_ALIGNMENT_DATA"
FEWEST_PEOPLE = 5  # nothing computed from fewer people than this may stand behind a published average


class DataError(ValueError):
    """A data file is missing, damaged or not the one expected; the message names it and the fix."""


@dataclass(frozen=True)
class Source:
    """A raw file: its path inside the data folder, its publisher's address and its SHA-256."""

    path: str
    url: str
    sha256: str


SOURCES = {
    "nonvoters": Source(
        path="fivethirtyeight_nonvoters/nonvoters_data.csv",
        url="https://raw.githubusercontent.com/fivethirtyeight/data/master/non-voters/nonvoters_data.csv",
        sha256="c3a8e5b5a2a82e137f60a63c073326f642a7794c91d8e56fc63195efcf0098f8",
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
            f"{places[0]} does not exist ({origin} is {str(folder)!r}). Put the file of {source.url} there, "
            f"or leave out data_dir and unset {DATA_VARIABLE} to have it fetched."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise DataError(
            f"{path} is not the file expected: its SHA-256 is {found}, expected {source.sha256}. It is "
            f"damaged, incomplete or another version. Delete it and download {source.url} again."
        )
    return path


def _fetch(source):
    folder = pooch.os_cache("emergent-alignment") / Path(source.path).parent
    try:
        return Path(pooch.retrieve(source.url, f"sha256:{source.sha256}", Path(source.path).name, folder))
    except (
        Exception
    ) as error:  # no connection, a refused certificate, a file that has changed at the publisher
        raise DataError(
            f"{source.url} could not be fetched with SHA-256 {source.sha256} ({type(error).__name__}: "
            f"{error}). Download it by other means into a folder as {source.path}, and name that folder as "
            f"data_dir (--data on the command line) or in the environment variable {DATA_VARIABLE}."
        ) from error


# ----------------------------------------------------------------------------------------------------
# The FiveThirtyEight / Ipsos poll of voters and non-voters, September 2020
# ----------------------------------------------------------------------------------------------------

# Question: kind, topic, answer codes from utility 1 down to 0, and what the first and the last code say.
FOUR, FIVE, TWO = (1, 2, 3, 4), (1, 2, 3, 4, 5), (1, 2)
PARTY_WISH = "wants it and works for it", "does not want it and works against it"
QUESTIONS = {
    "Q2": ("judgement", "being a good American", FOUR, "very important", "not at all important"),
    "Q3": ("judgement", "society", FOUR, "strongly agree", "strongly disagree"),
    "Q4": ("judgement", "impact on my life", FOUR, "a significant impact", "no impact at all"),
    "Q5": ("judgement", "government", TWO, "really matters", "pretty much the same"),
    "Q6": ("judgement", "government", FOUR, "a lot", "none"),
    "Q7": ("judgement", "government", TWO, "a lot of changes", "not really needed"),
    "Q8": ("judgement", "trust", FOUR, "a lot", "not at all"),
    "Q9": ("judgement", "systems of government", FOUR, "very good way", "very bad way"),
    "Q10": ("experience", "hardship", TWO, "yes", "no"),
    "Q11": ("experience", "the pandemic", TWO, "yes", "no"),
    "Q14": ("judgement", "parties", FIVE, *PARTY_WISH),
    "Q15": ("judgement", "parties", FIVE, *PARTY_WISH),
    "Q16": ("judgement", "voting", FOUR, "very easy", "very difficult"),
    "Q17": ("judgement", "ways of voting", FOUR, "very confident", "not at all confident"),
    "Q18": ("experience", "obstacles to voting", TWO, "yes", "no"),
    "Q19": ("judgement", "what would raise turnout", (1, -1), "ticked", "not ticked"),
    "Q20": ("behaviour", "turnout", TWO, "yes", "no"),
    "Q21": ("behaviour", "turnout", (1, 3, 2), "yes", "no"),
    "Q23": ("judgement", "candidates", (1, 3, 2), "Donald Trump", "Joe Biden"),
    "Q25": ("behaviour", "turnout", FOUR, "very closely", "not closely at all"),
    "Q26": ("behaviour", "turnout", FOUR, "always or almost always", "never"),
    "Q27": ("behaviour", "turnout", TWO, "yes", "no"),
}
# Column, short label: statement. These are this course's own paraphrases of the questionnaire.
STATEMENTS = """
Q2_1 voting: To be a good American, it is important to vote.
Q2_2 jury service: To be a good American, it is important to serve on a jury.
Q2_3 following politics: To be a good American, it is important to follow government and politics.
Q2_4 displaying the flag: To be a good American, it is important to display the flag.
Q2_5 census: To be a good American, it is important to take part in the census.
Q2_6 Pledge of Allegiance: To be a good American, it is important to know the Pledge of Allegiance.
Q2_7 supporting the military: To be a good American, it is important to support the military.
Q2_8 respecting other opinions: To be a good American, it is important to respect those who disagree.
Q2_9 believing in God: To be a good American, it is important to believe in God.
Q2_10 protesting wrongs: To be a good American, it is important to protest against wrong government actions.
Q3_1 systemic racism: Systemic racism is a problem in the country.
Q3_2 racist policing: Racism in policing is a bigger problem than violence at protests.
Q3_3 society too soft: Society has become too soft and feminine.
Q3_4 media after money: The mainstream media care more for money than for truth.
Q3_5 politicians do not care: Traditional parties and politicians do not care about people like me.
Q3_6 sensitive language: The way people talk should become more sensitive to different backgrounds.
Q4_1 Washington: Elected officials in Washington affect my life.
Q4_2 state officials: Elected officials in my state affect my life.
Q4_3 local officials: Elected officials in my city or community affect my life.
Q4_4 news media: The news media affect my life.
Q4_5 Wall Street: Large financial institutions affect my life.
Q4_6 law enforcement: The police and the courts affect my life.
Q5 who wins matters: It really matters who wins the presidential election.
Q6 officials like me: Many people in elected office are like me.
Q7 change the system: The design of American government needs a lot of changes.
Q8_1 presidency: I trust the presidency.
Q8_2 Congress: I trust Congress.
Q8_3 Supreme Court: I trust the Supreme Court.
Q8_4 CDC: I trust the Centers for Disease Control.
Q8_5 election officials: I trust election officials.
Q8_6 intelligence services: I trust the intelligence community.
Q8_7 news media: I trust the news media.
Q8_8 police: I trust the police.
Q8_9 postal service: I trust the postal service.
Q9_1 democracy: A democracy with elected politicians is a good way to govern the country.
Q9_2 rule by experts: Decisions by experts instead of government are a good way to govern the country.
Q9_3 strong leader: A strong leader without Congress and elections is a good way to govern the country.
Q9_4 army rule: Rule by the army is a good way to govern the country.
Q10_1 disability: I receive long-term disability payments.
Q10_2 chronic illness: I have a chronic illness.
Q10_3 long unemployment: I have been unemployed for more than a year.
Q10_4 eviction: I have been evicted within the past year.
Q11_1 lost job: Since February 2020 I have lost my job, for a time or for good.
Q11_2 had COVID-19: Since February 2020 I have tested positive for COVID-19.
Q11_3 COVID-19 near me: Since February 2020 a friend or relative has tested positive for COVID-19.
Q11_4 death near me: Since February 2020 a friend or relative has died of COVID-19.
Q11_5 money worries: Since February 2020 I have worried about paying for rent, food or health care.
Q11_6 quit job to care: Since February 2020 I have quit my job to care for a relative.
Q14 Republicans want my vote: The Republican Party wants people like me to vote.
Q15 Democrats want my vote: The Democratic Party wants people like me to vote.
Q16 voting is easy: Voting in national elections is easy.
Q17_1 voting machines: Voting machines at the polling place are safe from fraud.
Q17_2 paper in person: Paper ballots cast in person are safe from fraud.
Q17_3 paper by mail: Paper ballots sent by mail are safe from fraud.
Q17_4 electronic votes: Votes sent online or by email are safe from fraud.
Q18_1 wrong ID: Someone in my household was told their identification was not valid for voting.
Q18_2 no polling place: Someone in my household could not find the polling place.
Q18_3 missed registration: Someone in my household missed the deadline for registration.
Q18_4 no access: Someone in my household could not physically get into the polling place.
Q18_5 no assistance: Someone in my household lacked the help needed to fill in a ballot.
Q18_6 provisional ballot: Someone in my household had to cast a provisional ballot.
Q18_7 no time off work: Someone in my household could not leave work to vote.
Q18_8 long line: Someone in my household waited over an hour to vote.
Q18_9 not on the list: Someone in my household was registered but not on the list.
Q18_10 ballot too late: Someone in my household did not get a mail ballot in time.
Q19_1 outreach: More outreach by candidates would get more people to vote.
Q19_2 unbiased information: More unbiased information would get more people to vote.
Q19_3 holiday: Making Election Day a holiday would get more people to vote.
Q19_4 automatic registration: Automatic registration would get more people to vote.
Q19_5 automatic mail ballot: A ballot sent to everyone by mail would get more people to vote.
Q19_6 early voting: Voting in person before Election Day would get more people to vote.
Q19_7 same-day registration: Registering and voting on one day would get more people to vote.
Q19_8 phone or online: Voting by phone or online would get more people to vote.
Q19_9 more candidates: More candidates to choose from would get more people to vote.
Q20 registered: I am registered to vote.
Q21 plan to vote: I plan to vote in November 2020.
Q23 Trump over Biden: I support Donald Trump rather than Joe Biden for president.
Q25 follow the race: I follow the presidential race.
Q26 vote regularly: I vote in national elections.
Q27_1 voted in 2018: I voted in the national election of 2018.
Q27_2 voted in 2016: I voted in the national election of 2016.
Q27_3 voted in 2014: I voted in the national election of 2014.
Q27_4 voted in 2012: I voted in the national election of 2012.
Q27_5 voted in 2010: I voted in the national election of 2010.
Q27_6 voted in 2008: I voted in the national election of 2008.
"""
KINDS = ("judgement", "experience", "behaviour")


@dataclass(frozen=True, eq=False)
class Judgements:
    """A table of judgements: what each person thinks of each item, as utilities.

    utilities : (people, items) in [0, 1], NaN where there is no answer.
    items : DataFrame, one row for each item, indexed by its id; says what utility 1 and utility 0 mean.
    people : DataFrame, one row for each person.
    """

    utilities: np.ndarray
    items: pd.DataFrame
    people: pd.DataFrame

    def where(self, keep) -> Judgements:
        """The people for whom `keep` (people,) is true."""
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != self.utilities.shape[:1]:
            raise InputError(f"keep must hold true or false for each of the {len(self.utilities)} people.")
        return replace(self, utilities=self.utilities[keep], people=self.people[keep].reset_index(drop=True))

    def complete(self) -> Judgements:
        """The people who gave an answer on every item."""
        return self.where(~np.isnan(self.utilities).any(axis=1))


@dataclass(frozen=True, eq=False)
class Cells:
    """Groups of people as judges: the plain mean utility of each group for each item.

    utilities : (cells, items) in [0, 1]. items : as in Judgements.
    groups : DataFrame, one row for each cell, one column for each grouping.
    sizes : (cells,) people in the cell. answers : (cells,) the fewest valid answers behind any of its means.
    errors : (cells, items) standard errors of the means, from the spread of the answers within the cell.
    """

    utilities: np.ndarray
    items: pd.DataFrame
    groups: pd.DataFrame
    sizes: np.ndarray
    answers: np.ndarray
    errors: np.ndarray

    @property
    def labels(self) -> tuple[str, ...]:
        """One readable name for each cell, such as "Democrat, 35-49, College"."""
        return tuple(", ".join(row) for row in self.groups.itertuples(index=False))

    def noise_share(self, remove_consensus: bool = False) -> float:
        """The share of a cell's variance over the items that is sampling error, on average over cells.

        Mean squared standard error divided by the variance over the items, of the means or, with
        `remove_consensus`, of their distance from the mean of all other cells. A yardstick for the error one must
        expect with cells so small, not a lower limit: the same people answer all items, so their chance deviations
        go together and part of them can be predicted.
        """
        means = self.utilities
        if remove_consensus:
            means = means - (means.sum(axis=0) - means) / (len(means) - 1)
        return float(((self.errors**2).mean(axis=1) / means.var(axis=1)).mean())


def load_poll(data_dir=None, kinds=("judgement",)) -> Judgements:
    """The FiveThirtyEight / Ipsos poll of September 2020, 5,836 respondents, as utilities over its questions.

    A person's utility for an item is her agreement with the item's statement: 1 for the answer that supports
    it most, 0 for the answer that rejects it most, the answers between at equal steps (for an undecided
    answer to "Trump or Biden" and to "plan to vote": 1/2). Refused answers (code -1) are NaN.

    The 55 items of kind "judgement" ask what somebody thinks. The 20 of kind "experience" ask what happened
    to her (illness, a lost job, obstacles to voting; almost all answers are "no"), and the 10 of kind
    "behaviour" what she does (registered, voted in 2018, ...): facts about a person rather than views that
    two people could argue about, so they are left out unless asked for.

    Left out always: Q1 (every answer is the same); Q22, Q28, Q29, Q31-Q33 (put only to some people); Q24
    (four ways to vote, in no order); Q30 (party, used to group people); Q19_10 ("other", an open answer). Q19
    lets people tick what applies, -1 meaning "not ticked": an unticked box counts as 0, except that the
    people who ticked none of its ten boxes count as missing, because they cannot be told from those who
    refused.

    Parameters
    ----------
    data_dir : see :func:`raw_file`.
    kinds : the kinds of items wanted, from "judgement", "experience" and "behaviour".

    Returns
    -------
    Judgements; `people` has columns race, gender, education, income, age (four bands), party, turnout (from
    the voter file) and weight. Party is "Other or none" for another party or no preference, missing if
    refused.

    Raises
    ------
    InputError for an unknown kind, DataError if the raw file is missing or is not the one expected.
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not kinds:
        raise InputError(f"kinds must name at least one of {', '.join(map(repr, KINDS))}; got none.")
    for kind in kinds:
        one_of(kind, "kinds", KINDS)
    raw = pd.read_csv(raw_file("nonvoters", data_dir))
    items = poll_items(kinds)
    columns = []
    for item, answers in zip(items.index, items["codes"]):
        steps = dict(zip(answers, np.linspace(1, 0, len(answers))))
        columns.append(raw[item].map(steps).to_numpy(dtype=float))  # refused: no step, hence NaN
    utilities = np.column_stack(columns)
    nothing_ticked = (raw[[f"Q19_{part}" for part in range(1, 11)]] == -1).all(axis=1).to_numpy()
    ticks = items.index.str.startswith("Q19_")
    utilities[np.ix_(nothing_ticked, ticks)] = np.nan
    ages = pd.cut(raw["ppage"], [0, 34, 49, 64, 200], labels=["under 35", "35-49", "50-64", "65+"])
    parties = {1: "Republican", 2: "Democrat", 3: "Independent", 4: "Other or none", 5: "Other or none"}
    people = pd.DataFrame(
        {
            "race": raw["race"],
            "gender": raw["gender"],
            "education": raw["educ"],
            "income": raw["income_cat"],
            "age": ages.astype(str),
            "party": raw["Q30"].map(parties),
            "turnout": raw["voter_category"],
            "weight": raw["weight"],
        }
    )
    return Judgements(utilities, items.drop(columns="codes"), people)


def poll_items(kinds=KINDS) -> pd.DataFrame:
    """The items of the poll: kind, topic, label, statement, best and worst answer, codes."""
    rows = []
    for line in STATEMENTS.strip().splitlines():
        name, statement = line.split(": ", 1)
        item, label = name.split(" ", 1)
        kind, topic, codes, best, worst = QUESTIONS[item.split("_")[0]]
        rows.append((item, kind, topic, label, statement, best, worst, codes))
    names = ["item", "kind", "topic", "label", "statement", "best", "worst", "codes"]
    table = pd.DataFrame(rows, columns=names).set_index("item")
    return table[table["kind"].isin(kinds)]


def demographic_cells(
    poll: Judgements, by=("race", "gender", "education", "income", "age"), minimum=5
) -> Cells:
    """Average the utilities over groups of people that are large enough.

    Parameters
    ----------
    poll : Judgements of people. by : columns of `poll.people` to group by.
    minimum : the fewest valid answers that may stand behind any mean, at least 5. A cell with fewer on any
        item is left out. People without a value in one of the columns belong to no cell.

    Returns
    -------
    Cells with plain means, not weighted by the survey weights: a cell stands for its own members. Cells are
    sorted by their labels.

    Raises
    ------
    InputError for an unknown column, a minimum below 5, or if no cell is large enough.
    """
    if not isinstance(poll, Judgements):
        raise InputError(f"poll must be Judgements, as load_poll returns them; got {type(poll).__name__}.")
    by = (by,) if isinstance(by, str) else tuple(by)
    if not by:
        raise InputError("by must name at least one column to group by; got none.")
    for name in by:
        one_of(name, "by", tuple(c for c in poll.people.columns if c != "weight"))
    minimum = whole_number(minimum, "minimum", FEWEST_PEOPLE)
    table = pd.DataFrame(poll.utilities, columns=poll.items.index)
    people = poll.people.reset_index(drop=True)
    grouped = table.groupby([people[name] for name in by], observed=True)
    answers = grouped.count().min(axis=1)
    keep = answers >= minimum
    if not keep.any():
        raise InputError(
            f"by={by} with minimum={minimum} leaves no cell: the largest has {answers.max()} answers on each "
            "item. Group by fewer columns or lower minimum."
        )
    return Cells(
        utilities=grouped.mean()[keep].to_numpy(),
        items=poll.items,
        groups=keep.index[keep].to_frame(index=False).astype(str),
        sizes=grouped.size()[keep].to_numpy(),
        answers=answers[keep].to_numpy(),
        errors=grouped.sem()[keep].to_numpy(),
    )


# ----------------------------------------------------------------------------------------------------
# The tables kept beside the notebooks
# ----------------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """The folder of the course's own small tables: beside the notebooks, or inside the installed library."""
    here = Path(__file__).resolve().parent
    installed = here / "data"
    return installed if installed.is_dir() else here.parent / "data"


def load_table(name: str) -> pd.DataFrame:
    """One of the course's small tables, for instance "opinion_cells".

    Returns a new DataFrame, as it stands in notebooks/data/<name>.csv; what it holds, where it comes from and
    under which licence is told in notebooks/data/README.md. InputError if there is no such table.
    """
    folder = data_folder()
    names = sorted(path.stem for path in folder.glob("*.csv"))
    if name not in names:
        known = ", ".join(map(repr, names)) or "none at all"
        raise InputError(f"name must be one of the tables in {folder}: {known}; got {name!r}.")
    return pd.read_csv(folder / f"{name}.csv")
