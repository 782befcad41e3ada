"""Chapter 14: raters and experts on what is safe (DICES)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import Judgements, data_folder
from ..datasets.dices import load_dices
from ..datasets.taste import groups_by_taste, taste_groups
from ..experiments import (
    METHODS,
    draw_generator,
    error_ratios,
    imitations,
    play_first,
    run_draws,
    summarise,
    summarise_games,
)
from ..markets import slate_market
from .levels import Level, Plan, describe_levels, level_of_cells, level_of_people, play_levels
from .tables import provenance, rounded, write_results

PLAN = Plan(seed=20230620, game_providers=(1, 2, 4))  # the day the data set's paper appeared
MOST_ALIKE = 0.95  # a rater who gives one answer more often than this is not used
AGREEING = 104  # as many raters as the authors kept
FEWEST_IN_GROUP = 5
BINS = 10
VOTE = "majority vote"
RATINGS = {
    "title": "DICES-350: Diversity in Conversational AI Evaluation for Safety",
    "publisher": "Google Research; Aroyo and others 2023, arXiv:2306.11247",
    "page": "https://github.com/google-research-datasets/dices-dataset",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Data: DICES-350, Aroyo and others (2023), CC BY 4.0, in the edition of JUDGE-BENCH; changed: "
    "answers mapped to [0, 1], and counted or averaged over raters.",
}


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 14: alignment and games on safety ratings; Alice is a rater, a group of raters or the experts.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every alignment curve, and games of every game curve; 500 if omitted.
    n_jobs, cache, progress : as in `experiments.alignment_curves`.

    Returns
    -------
    The tables written, by name: safety_alignment, safety_games, safety_agreement, safety_votes. Beside them
    safety_provenance.json is written.
    """
    out = data_folder() if out is None else Path(out)
    plan, dices = PLAN.with_draws(draws), load_dices(data_dir)
    levels, raters = safety_levels(dices), varied(dices).utilities
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = play_levels(levels, plan, **run)
    expert = dices.items["expert"].to_numpy()
    drawn = expert_curves(expert, raters, plan, **run)
    played = expert_games(expert, raters, plan, **run)
    tables = {
        "safety_alignment": pd.concat([curves, rounded(summarise(drawn, "experts"))], ignore_index=True),
        "safety_games": pd.concat([games, rounded(summarise_games(played, "experts"))], ignore_index=True),
        "safety_agreement": rounded(agreement(drawn)),
        "safety_votes": votes(dices),
    }
    about = describe_levels(levels)
    about["experts"] = {
        **about["raters"],
        "meaning": "Alice is the experts' verdict; providers as in the first level",
    }
    origin = {**RATINGS, **provenance("safety", "dices_ratings", "dices_gold")}
    write_results(out, "safety", tables, origin, **plan.describe(), levels=about)
    return tables


def varied(dices: Judgements) -> Judgements:
    """The raters who give no answer to more than 95 % of the conversations.

    Errors are measured in shares of what Alice's answers vary, and where they hardly do, a share says little: if
    two of her 140 test answers differ from the rest, any error looks large; if none does, there is no share.
    """
    return dices.where(
        np.max([(dices.utilities == u).mean(axis=1) for u in (0, 0.5, 1)], axis=0) <= MOST_ALIKE
    )


def agreeing(dices: Judgements) -> Judgements:
    """The 104 raters whose answers correlate best with the mean of all others.

    The authors of the data keep as many, but which ones is not published in these files. This choice favours
    agreement, so it shows what results would look like without careless raters, and perhaps without some who
    merely disagreed.
    """
    table = dices.utilities
    others = (table.sum(axis=0) - table) / (len(table) - 1)
    table, others = (part - part.mean(axis=1, keepdims=True) for part in (table, others))
    size = np.sqrt((table**2).sum(axis=1) * (others**2).sum(axis=1))
    correlation = (table * others).sum(axis=1) / np.where(size > 0, size, 1)
    keep = np.zeros(len(table), dtype=bool)
    keep[np.argsort(-correlation, kind="stable")[:AGREEING]] = True
    return dices.where(keep)


def safety_levels(dices: Judgements) -> dict[str, Level]:
    """The levels of the safety ratings, by name, except that of the experts."""
    raters = varied(dices)
    groups = groups_by_taste(raters, FEWEST_IN_GROUP)
    judged = Judgements(raters.utilities[:, 1::2], raters.items.iloc[1::2], raters.people)
    halves = {
        "groups": taste_groups(raters.utilities[:, ::2], len(raters.utilities) // 2).astype(str),
        "most_providers": 50,
    }
    few = {"most_providers": 20}
    return {
        "raters": level_of_people(
            "raters who give no answer to more than 95 % of the conversations", raters, games=True
        ),
        "raters_no_consensus": level_of_people(
            "raters as before, the others' mean on each conversation subtracted",
            raters,
            remove_consensus=True,
        ),
        "raters_agreeing": level_of_people(
            f"the {AGREEING} raters whose answers go best with the mean of all others: our rule, not the authors'",
            agreeing(dices),
        ),
        "groups": level_of_cells(
            "groups of five or six raters who judge alike, sorted by 175 conversations and judging 175 others",
            groups,
            **few,
        ),
        "groups_no_consensus": level_of_cells(
            "groups as before, the other groups' mean on each conversation subtracted",
            groups,
            remove_consensus=True,
            noise_share=groups.noise_share(remove_consensus=True),
            **few,
        ),
        "own_half": level_of_people(
            "raters as in the first level, split in two halves by the conversations that sort the groups and "
            "judging the others; providers from Alice's half",
            judged,
            pool="own group",
            **halves,
        ),
        "other_half": level_of_people(
            "raters as before; providers from the other half", judged, pool="another group", **halves
        ),
    }


def expert_curves(expert, raters, plan: Plan, **run) -> pd.DataFrame:
    """As `experiments.alignment_curves`, but Alice is always the experts, and only the raters are drawn.

    expert : (items,) 1 safe, 0 unsafe. raters : (raters, items). run : n_jobs, cache, progress.

    The additional column `agrees` is the share of the test items on which the method's verdict is that of
    the experts: safe if the imitation is above 1/2. There is one more method, the majority vote: the plain
    average of the raters without a fitted offset. It has no ratios.
    """
    arguments = {
        "expert": expert,
        "raters": raters,
        "sizes": sorted(plan.providers),
        "seed": plan.seed,
        "test_items": round(plan.test_share * len(expert)),
    }
    rows = run_draws(_expert_draw, arguments, plan.draws, title="experts", **run)
    return pd.DataFrame(rows, columns=["draw", "k", "method", "train", "test", "undetermined", "agrees"])


def _expert_draw(expert, raters, sizes, seed, test_items, draw):
    rng = draw_generator(seed, draw)
    providers = raters[rng.permutation(len(raters))[: max(sizes)]]
    items = rng.permutation(len(expert))
    test, train = np.sort(items[:test_items]), np.sort(items[test_items:])
    rows = []
    for (k, method), imitation in imitations(expert, providers, train, sizes).items():
        agrees = (imitation[test] > 0.5) == (expert[test] > 0.5)
        rows.append(
            (draw, k, method, *error_ratios(expert, imitation, train, test), False, float(agrees.mean()))
        )
    for k in sizes:
        agrees = (providers[:k].mean(axis=0)[test] > 0.5) == (expert[test] > 0.5)
        rows.append((draw, k, VOTE, np.nan, np.nan, False, float(agrees.mean())))
    return rows


def agreement(curves: pd.DataFrame) -> pd.DataFrame:
    """Averages over the draws of `expert_curves`: share of new conversations judged as the experts judge them.

    Columns: k, method; agrees, low, high: mean, 5th and 95th percentile; draws.
    """
    grouped = curves.groupby(["k", "method"])["agrees"]
    columns = {
        "agrees": grouped.mean(),
        "low": grouped.quantile(0.05),
        "high": grouped.quantile(0.95),
        "draws": grouped.size(),
    }
    order = pd.MultiIndex.from_product(
        [sorted(curves["k"].unique()), (VOTE, *METHODS)], names=["k", "method"]
    )
    return pd.DataFrame(columns).loc[order].reset_index()


def expert_games(expert, raters, plan: Plan, **run) -> pd.DataFrame:
    """As `experiments.game_curve`, but Alice is always the experts, and only the raters are drawn."""
    arguments = {
        "expert": expert,
        "raters": raters,
        "sizes": sorted(plan.game_providers),
        "seed": plan.seed,
        **plan.game,
    }
    return pd.DataFrame(run_draws(_expert_game, arguments, plan.draws, title="experts' games", **run))


def _expert_game(expert, raters, sizes, seed, slates, options, bid_step, draw):
    rng = draw_generator(seed, draw)
    rivals = raters[rng.permutation(len(raters))[: max(sizes)]]
    table = rng.permutation(len(expert))[: slates * options].reshape(slates, options)
    return play_first(slate_market(expert, rivals, table), sizes, bid_step, draw)


def votes(dices: Judgements) -> pd.DataFrame:
    """How many conversations the experts call safe and unsafe, by the share of raters who call them unsafe.

    Columns: share_from, share_to (a conversation on a border counts below it, one at 0 in the first row),
    experts_safe, experts_unsafe. An unsure rater counts as half.
    """
    share = 1 - dices.utilities.mean(axis=0)
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.ceil(share * BINS - 1e-9).astype(int) - 1, 0, BINS - 1)
    safe = dices.items["expert"].to_numpy() == 1
    return pd.DataFrame(
        {
            "share_from": edges[:-1].round(2),
            "share_to": edges[1:].round(2),
            "experts_safe": np.bincount(place[safe], minlength=BINS),
            "experts_unsafe": np.bincount(place[~safe], minlength=BINS),
        }
    )
