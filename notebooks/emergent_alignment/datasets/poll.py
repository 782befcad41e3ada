"""The FiveThirtyEight / Ipsos poll of voters and non-voters, September 2020."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._validation import InputError, one_of
from .judgements import Judgements
from .sources import raw_file

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
