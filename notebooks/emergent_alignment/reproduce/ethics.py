"""Chapter 13: judges of pleasantness trained on ETHICS, with values of their own.

Alice is the people behind the labels of ETHICS (utilitarianism): of two scenarios in a pair she prefers the
one they found more pleasant. A judge is a linear reward model on sentence embeddings, one for each topic,
fitted by the Bradley-Terry model to pairs of its own; some judges learned from labels that are reversed on
some topics. Everything is said about *differences* between the two scenarios of a pair, more pleasant minus
less pleasant.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .._validation import InputError, finite_array, generator, real_number, whole_number
from ..datasets import data_folder
from ..datasets.ethics import SPLITS, load_pairs, scenario_groups, without_scenarios_of
from ..experiments import (
    METHODS,
    SIMPLE,
    draw_generator,
    method_weights,
    play_first,
    run_draws,
    summarise_games,
)
from ..hull import second_moments
from ..markets import slate_market
from .embeddings import FILES, MODEL, TOKENS, embed
from .tables import provenance, rounded, write_results

SEED = 20210503  # the first day of the conference at which ETHICS appeared
DRAWS = 200
PROVIDERS = (1, 2, 3, 5, 10, 20, 50, 100)
SHARING_PROVIDERS = (10, 50)
GAME_PROVIDERS = (1, 2, 4, 8)
GAME = {"pairs": 10, "bid_step": 0.01}
JUDGE_PAIRS, WEIGHT_PAIRS = 6000, 2400  # of the training split: for the judges, and for the weights
POOL = 120  # judges trained
SLICE = 2000  # pairs a judge learns from, drawn with replacement
FIT_PAIRS = 400  # pairs on which the weights are fitted
PENALTY = 1.0
COMMON_TOPICS = 3
SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
WORDS = 1024  # places for words in a bag of words
RELATED = 0.5  # cosine of the two embeddings above which a pair counts as two versions of one situation
SETS = ("new", "test", "test_hard")
# The course's own list. A pair has the topic whose name is nearest to the mean of its two embeddings.
TOPICS = (
    "food and cooking",
    "animals and pets",
    "work and colleagues",
    "school and exams",
    "family and friends",
    "shopping and money",
    "health and illness",
    "travel and nature",
    "sports and games",
    "home and garden",
)
TABLE_PAIRS = {"new": 180, "test": 120, "test_hard": 40}
TABLE_JUDGES = 60
ETHICS = {
    "title": "ETHICS, utilitarianism",
    "publisher": "Hendrycks and others 2021, Aligning AI With Shared Human Values, arXiv:2008.02275",
    "page": "https://github.com/hendrycks/ethics",
    "licence": "MIT, as declared by the authors",
    "attribution": "Data: ETHICS (Hendrycks and others 2021), MIT licence; changed: no text, but scores of "
    "pairs by judges that this course trained on them.",
}


@dataclass(frozen=True)
class Kind:
    """What sets the judges of a market apart.

    own : probability with which a judge reverses its values on a topic, independently for every topic.
    common : the same for the three topics that are common to a market, instead of `own`; or None.
    topics : on how many topics a judge has values at all, drawn at random; None for all.
    features : what the judges see of a text, "embeddings" or "words".
    """

    meaning: str
    own: float = 0.0
    common: float | None = None
    topics: int | None = None
    features: str = "embeddings"


KINDS = {
    "resamples": Kind("judges of one mind: each learned from a random sample of pairs of its own"),
    "specialists": Kind(
        "each judge learned from two of the ten topics, and is indifferent on the others", topics=2
    ),
    "own_values": Kind("each judge has reversed values on each topic with probability 0.3", own=0.3),
    "mostly_shared": Kind(
        "as own_values, and on three topics each judge has reversed values with probability 0.8", 0.3, 0.8
    ),
    "shared": Kind("as own_values, and on three topics all judges have reversed values", 0.3, 1.0),
    "words": Kind("as own_values, with bags of words in place of embeddings", 0.3, features="words"),
}


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False, model=None
) -> dict[str, pd.DataFrame]:
    """Chapter 13: how well weighted judges imitate people's labels, the game, and a table of scores.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every curve, and games of every kind; 200 if omitted.
    n_jobs, cache, progress : as in `experiments.alignment_curves`. The cache keeps embeddings, too.
    model : folder of the embedding model, as in `embeddings.model_folder`.

    Returns
    -------
    The tables written, by name: ethics_alignment, ethics_sharing, ethics_games, ethics_models, ethics_scores.
    Beside them ethics_provenance.json is written.
    """
    out = data_folder() if out is None else Path(out)
    draws = whole_number(DRAWS if draws is None else draws, "draws", 1)
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    data = prepare(data_dir, model, **run)
    scores = {features: pool_scores(data, features, **run) for features in ("embeddings", "words")}
    judges = {
        features: {part: utility_differences(values) for part, values in by_part.items()}
        for features, by_part in scores.items()
    }
    curves = [
        curve_table(data, judges[kind.features], kind, PROVIDERS, draws, title=name, **run).assign(kind=name)
        for name, kind in KINDS.items()
    ]
    sharing = [
        curve_table(
            data,
            judges["embeddings"],
            Kind("", 0.3, share),
            SHARING_PROVIDERS,
            draws,
            title=f"{share:g} shared",
            **run,
        ).assign(share=share)
        for share in SHARES
    ]
    games = [
        game_table(data, judges["embeddings"], kind, draws, title=f"games: {name}", **run).assign(kind=name)
        for name, kind in KINDS.items()
        if kind.features == "embeddings"
    ]
    tables = {
        "ethics_alignment": _joined(curves, "kind"),
        "ethics_sharing": _joined(sharing, "share"),
        "ethics_games": _joined(games, "kind"),
        "ethics_models": rounded(model_table(data, scores)),
        "ethics_scores": score_table(data, scores["embeddings"]),
    }
    write_results(
        out,
        "ethics",
        tables,
        {**ETHICS, **provenance("ethics", *SPLITS.values())},
        embeddings={"model": MODEL, "sha256": FILES, "tokens": TOKENS, "stored_as": "half precision"},
        seed=SEED,
        draws=draws,
        pairs={part: len(pairs) for part, pairs in data.pairs.items()},
        judges={"pool": POOL, "pairs_each": SLICE, "penalty": PENALTY, "in_table": TABLE_JUDGES},
        fit_pairs=FIT_PAIRS,
        topics=list(TOPICS),
        kinds={name: asdict(kind) for name, kind in KINDS.items()},
        games={"games": draws, **GAME, "providers": list(GAME_PROVIDERS), "pairs_from": "test"},
    )
    return tables


# Judges -----------------------------------------------------------------------------------------------------


def fit_reward(differences, penalty: float = PENALTY) -> np.ndarray:
    """Linear reward model from pairs: the Bradley-Terry model with a penalty (Bradley and Terry 1952).

    Minimises sum over pairs of log(1 + exp(-<theta, x>)) plus penalty/2 |theta|^2, x being features of the
    preferred text minus features of the other one. Newton's method; the problem is strictly convex.

    Parameters
    ----------
    differences : (pairs, features) of x. penalty : above zero.

    Returns
    -------
    (features,) theta. The chance that a text is preferred to another is 1 / (1 + exp(-<theta, x>)).

    Raises
    ------
    InputError for arguments that do not fit.
    """
    x = finite_array(differences, "differences", 2, "(pairs, features)", copy=False)
    penalty = real_number(penalty, "penalty", 0)
    if penalty == 0:
        raise InputError(
            "penalty must be above zero; otherwise pairs that can be separated have no best fit."
        )
    basis = None
    if len(x) < x.shape[1]:  # the solution lies in the span of the rows, which has fewer dimensions
        basis, triangle = np.linalg.qr(x.T)
        x = triangle.T
    theta = np.zeros(x.shape[1])
    value = _loss(x, theta, penalty)
    for _ in range(100):
        wrong = 1 / (1 + np.exp(np.clip(x @ theta, -500, 500)))
        slope = penalty * theta - wrong @ x
        curvature = (x * (wrong * (1 - wrong))[:, None]).T @ x
        curvature[np.diag_indices_from(curvature)] += penalty
        step = np.linalg.solve(curvature, slope)
        if slope @ step < 1e-10 * (1 + value):  # the last step needs no search, and squares what is missing
            theta = theta - step
            break
        length = 1.0
        while _loss(x, theta - length * step, penalty) > value - 1e-4 * length * (slope @ step):
            length /= 2
        theta = theta - length * step
        value = _loss(x, theta, penalty)
    return theta if basis is None else basis @ theta


def _loss(x, theta, penalty):
    return float(np.logaddexp(0, -(x @ theta)).sum() + penalty / 2 * theta @ theta)


def value_signs(kind: Kind, judges: int, rng: np.random.Generator) -> np.ndarray:
    """What each judge makes of each topic (judges, topics): 1 as people do, -1 reversed, 0 indifferent.

    A judge trained on reversed labels is the same judge with opposite scores, so its values are signs on the
    scores of a judge trained on people's labels. InputError if rng is no generator.
    """
    rng = generator(rng, "rng")
    judges = whole_number(judges, "judges", 1)
    reverse = np.full((judges, len(TOPICS)), kind.own)
    if kind.common is not None:
        reverse[:, rng.choice(len(TOPICS), COMMON_TOPICS, replace=False)] = kind.common
    signs = np.where(rng.random(reverse.shape) < reverse, -1.0, 1.0)
    if kind.topics is not None:
        chosen = rng.random(reverse.shape).argsort(axis=1) < kind.topics
        signs = signs * chosen
    return signs


def utility_differences(scores) -> np.ndarray:
    """Differences of utility, in (-1, 1), from differences of reward of any shape.

    The utility of a text beside another is the chance of being preferred, p = 1 / (1 + exp(-score)) against
    1 - p; their difference is 2 p - 1 = tanh(score / 2).
    """
    return np.tanh(np.asarray(scores, dtype=float) / 2)


def pair_weights(differences, sizes) -> dict[int, np.ndarray]:
    """Weights of the methods for the first k judges, for every k in `sizes`: k -> (methods, k).

    Least squares against a difference of one on every pair, without an offset: with two options to each
    state, that is `hull.align` with an offset for every state. Methods in the order of `experiments.METHODS`.

    Parameters
    ----------
    differences : (judges, pairs). sizes : numbers of judges k.

    Raises
    ------
    InputError for arguments that do not fit.
    """
    d = finite_array(differences, "differences", 2, "(judges, pairs)", copy=False)
    return method_weights(second_moments(np.ones(d.shape[1]), d, "none"), sizes)


def pair_measures(mixtures, slopes=None) -> dict[str, np.ndarray]:
    """How well mixtures of judges imitate the labels.

    Parameters
    ----------
    mixtures : (methods, pairs) differences of utility. slopes : (methods,) of `fit_slopes`, or None.

    Returns
    -------
    Arrays (methods,) by name: accuracy, the share of pairs with a difference above zero (ties count half);
    error, the mean of (1 - difference)^2, which is 1 for somebody indifferent; and, with slopes, log_loss,
    the mean of log(1 + exp(-slope * difference)), which is log 2 for somebody indifferent.
    """
    mixtures = finite_array(mixtures, "mixtures", 2, "(methods, pairs)", copy=False)
    tie = np.abs(mixtures) < 1e-12
    measures = {
        "accuracy": np.where(tie, 0.5, mixtures > 0).mean(axis=1),
        "error": ((1 - mixtures) ** 2).mean(axis=1),
    }
    if slopes is not None:
        measures["log_loss"] = np.logaddexp(0, -np.asarray(slopes)[:, None] * mixtures).mean(axis=1)
    return measures


def fit_slopes(mixtures) -> np.ndarray:
    """(methods,) slopes, zero or more, that minimise the log-loss of `pair_measures` on (methods, pairs).

    One number turns a difference of utility, in whatever unit, into a chance. Bisection; at most 1000 in
    units of one over the mean size of a difference, where no finite slope is best.
    """
    mixtures = finite_array(mixtures, "mixtures", 2, "(methods, pairs)", copy=False)
    unit = np.abs(mixtures).mean(axis=1)
    unit = np.where(unit > 0, unit, 1)
    m = mixtures / unit[:, None]
    low, high = np.zeros(len(m)), np.full(len(m), 1000.0)
    for _ in range(50):
        middle = (low + high) / 2
        rising = (m / (1 + np.exp(np.clip(middle[:, None] * m, -500, 500)))).mean(
            axis=1
        ) > 0  # of the likelihood
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.where(m.mean(axis=1) > 0, (low + high) / 2, 0) / unit


# Data -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prepared:
    """Pairs, and what the judges see of them, by part: "judges", "new", "test" and "test_hard".

    pairs : tables of pairs. topics : (pairs,) index into TOPICS. groups : (pairs,) of `scenario_groups`.
    features : for "embeddings" and "words", (pairs, features) differences. similarity : (pairs,) cosine of
    the two embeddings. words : (pairs,) number of words of the more pleasant minus that of the less pleasant
    scenario.
    """

    pairs: dict[str, pd.DataFrame]
    topics: dict[str, np.ndarray]
    groups: dict[str, np.ndarray]
    features: dict[str, dict[str, np.ndarray]]
    similarity: dict[str, np.ndarray]
    words: dict[str, np.ndarray]


def split_pairs(data_dir=None) -> dict[str, pd.DataFrame]:
    """The pairs of each part. No scenario is in two parts.

    "judges" and "new" come from the training split, without the scenarios of the test splits; "test" is the
    test split; "test_hard" is the hard one without the scenarios of the test split.
    """
    train, test, hard = (load_pairs(split, data_dir) for split in ("train", "test", "test_hard"))
    train = without_scenarios_of(train, test, hard)
    groups = scenario_groups(train)
    order = _by_group(groups, np.random.default_rng(SEED))
    groups, chosen, start = groups[order], {}, 0
    for part, wanted in (("judges", JUDGE_PAIRS), ("new", WEIGHT_PAIRS)):
        stop = _end_of_group(groups, start + wanted)
        chosen[part] = train.iloc[np.sort(order[start:stop])]
        start = stop
    return {**chosen, "test": test, "test_hard": without_scenarios_of(hard, test)}


def prepare(data_dir=None, model=None, n_jobs=1, cache=None, progress=False, pairs=None) -> Prepared:
    """Embeddings, words, topics and groups of the pairs of `split_pairs`, or of `pairs` by part."""
    pairs = split_pairs(data_dir) if pairs is None else pairs
    texts = sorted({text for table in pairs.values() for text in table.to_numpy().ravel()})
    vectors = embed([*TOPICS, *texts], model, cache, n_jobs, progress)
    names, place = vectors[: len(TOPICS)], {text: i for i, text in enumerate(texts, len(TOPICS))}
    two = {
        part: [vectors[[place[text] for text in table[side]]] for side in ("more", "less")]
        for part, table in pairs.items()
    }
    counted = {part: [_bags(table[side]) for side in ("more", "less")] for part, table in pairs.items()}
    return Prepared(
        pairs=pairs,
        topics={part: ((more + less) @ names.T).argmax(axis=1) for part, (more, less) in two.items()},
        groups={part: scenario_groups(table) for part, table in pairs.items()},
        features={
            "embeddings": {part: more - less for part, (more, less) in two.items()},
            "words": {part: more[0] - less[0] for part, (more, less) in counted.items()},
        },
        similarity={part: (more * less).sum(axis=1) for part, (more, less) in two.items()},
        words={part: more[1] - less[1] for part, (more, less) in counted.items()},
    )


def _bags(texts):
    """Which words are in each text (texts, WORDS), each at a place given by a hash, and how many (texts,)."""
    bags, counts = np.zeros((len(texts), WORDS)), np.zeros(len(texts), dtype=int)
    for row, text in enumerate(texts):
        words = re.findall(r"[a-z0-9']+", text.lower())
        bags[row, [zlib.crc32(word.encode()) % WORDS for word in set(words)]] = 1
        counts[row] = len(words)
    return bags, counts


def _by_group(groups, rng):
    """An order of the pairs (pairs,) in which groups are shuffled and stay together."""
    rank = rng.permutation(groups.max() + 1)
    return np.argsort(rank[groups], kind="stable")


def _end_of_group(groups, stop):
    """The first place at or after `stop` at which another group begins."""
    while 0 < stop < len(groups) and groups[stop] == groups[stop - 1]:
        stop += 1
    return min(stop, len(groups))


def pool_scores(data, features, judges=POOL, n_jobs=1, cache=None, progress=False) -> dict[str, np.ndarray]:
    """Score differences (judges, pairs) of judges with people's values, by part: "new", "test" and
    "test_hard".

    Judge j learns from 2,000 pairs drawn with replacement from the part "judges", topic by topic.
    """
    what = data.features[features]
    rewards = run_draws(
        _judge_draw,
        {"differences": what["judges"], "topics": data.topics["judges"], "pairs": SLICE, "seed": SEED},
        judges,
        n_jobs,
        cache,
        progress,
        f"judges: {features}",
    )
    return {
        part: np.array([topic_scores(reward, what[part], data.topics[part]) for reward in rewards])
        for part in SETS
    }


def _judge_draw(differences, topics, pairs, seed, draw):
    sample = draw_generator(seed, draw).integers(len(differences), size=pairs)
    return [topic_rewards(differences[sample], topics[sample])]


def topic_rewards(differences, topics) -> np.ndarray:
    """One reward model for each topic (topics, features), fitted to the pairs of that topic alone."""
    return np.array(
        [
            fit_reward(differences[topics == t]) if (topics == t).any() else np.zeros(differences.shape[1])
            for t in range(len(TOPICS))
        ]
    )


def topic_scores(rewards, differences, topics) -> np.ndarray:
    """Score differences (pairs,) by the reward model of each pair's topic."""
    return np.einsum("pf,pf->p", differences, rewards[topics])


# Curves -----------------------------------------------------------------------------------------------------


def curve_table(
    data, judges, kind, sizes, draws, n_jobs=1, cache=None, progress=False, title="curves"
) -> pd.DataFrame:
    """Accuracy, squared error and log-loss of the methods against k, averaged over draws.

    `judges` are the differences of utility of a pool of judges with people's values, by part.

    In each draw the judges come in a new order and with new values, and the pairs of the part "new" are split
    into 400 or a few more, on which weights and slopes are fitted, and the rest. The methods are judged on
    the rest ("new"), on "test" and on "test_hard", whose scenarios neither the judges nor the weights have
    met.
    """
    rows = run_draws(
        _curve_draw,
        {
            "judges": judges,
            "topics": {part: data.topics[part] for part in SETS},
            "groups": data.groups["new"],
            "kind": kind,
            "sizes": list(sizes),
            "fit_pairs": FIT_PAIRS,
            "seed": SEED,
        },
        draws,
        n_jobs,
        cache,
        progress,
        title,
    )
    frame = pd.DataFrame(
        rows, columns=["draw", "pairs", "k", "method", "accuracy", "error", "log_loss", "total_weight"]
    )
    return _summary(frame)


def _curve_draw(judges, topics, groups, kind, sizes, fit_pairs, seed, draw):
    rng = draw_generator(seed, draw)
    order = _by_group(groups, rng)
    fitted = _end_of_group(groups[order], fit_pairs)
    members = rng.permutation(len(judges["new"]))[: max(sizes)]
    signs = value_signs(kind, len(members), rng)
    differences = {part: judges[part][members] * signs[:, topics[part]] for part in SETS}
    fit, rest = differences["new"][:, order[:fitted]], differences["new"][:, order[fitted:]]
    weights = pair_weights(fit, sizes)
    stacked = np.zeros((len(sizes) * len(METHODS), len(members)))
    for i, k in enumerate(sizes):
        stacked[i * len(METHODS) : (i + 1) * len(METHODS), :k] = weights[k]
    slopes = fit_slopes(stacked @ fit)
    rows = []
    for part, values in {**differences, "new": rest}.items():
        measures = pair_measures(stacked @ values, slopes)
        for row, (k, method) in enumerate((k, method) for k in sizes for method in METHODS):
            numbers = (float(measures[name][row]) for name in ("accuracy", "error", "log_loss"))
            rows.append((draw, part, k, method, *numbers, float(stacked[row].sum())))
    return rows


def _summary(frame):
    """Means and bands over the draws, and how often a method beats the average and the best single judge."""
    rows = []
    for (part, k), group in frame.groupby(["pairs", "k"], sort=False):
        tables = {
            name: group.pivot(index="draw", columns="method", values=name)
            for name in ("accuracy", "error", "log_loss", "total_weight")
        }
        for method in METHODS:
            row = {"pairs": part, "k": k, "method": method}
            for name in ("accuracy", "error"):
                values = tables[name][method]
                row |= {
                    name: values.mean(),
                    f"{name}_low": values.quantile(0.05),
                    f"{name}_high": values.quantile(0.95),
                }
            row["log_loss"] = tables["log_loss"][method].mean()
            row["total_weight"] = tables["total_weight"][method].mean()
            for other in SIMPLE:
                suffix = other.replace(" ", "_")
                row[f"accuracy_beats_{suffix}"] = _beats(-tables["accuracy"], method, other)
                row[f"error_beats_{suffix}"] = _beats(tables["error"], method, other)
            rows.append({**row, "draws": len(tables["error"])})
    return pd.DataFrame(rows)


def _beats(table, method, other):
    return (table[method] < table[other] - 1e-9).mean()


def _joined(parts, first):
    table = pd.concat(parts, ignore_index=True)
    return rounded(table[[first, *(name for name in table.columns if name != first)]])


# Games ------------------------------------------------------------------------------------------------------


def pair_market(differences, first):
    """The market in which a state is a pair, and the actions are to take its first or its second scenario.

    Alice's utility is 1 for the more pleasant scenario and 0 for the other one, a judge's the chance it gives
    to each.

    Parameters
    ----------
    differences : (judges, pairs) of utility, in [-1, 1]. first : (pairs,) whether the more pleasant one is
    first.

    Returns
    -------
    markets.Market with two actions and equally likely pairs.

    Raises
    ------
    InputError for arguments that do not fit.
    """
    d = finite_array(differences, "differences", 2, "(judges, pairs)")
    n = d.shape[1]
    first = np.asarray(first)
    if first.dtype != bool or first.shape != (n,):
        raise InputError(f"first must hold true or false for each of the {n} pairs.")
    more, less = np.arange(n), np.arange(n) + n
    slates = np.stack([np.where(first, more, less), np.where(first, less, more)], axis=1)
    return slate_market(np.repeat([1.0, 0.0], n), np.hstack([(1 + d) / 2, (1 - d) / 2]), slates)


def game_table(
    data, judges, kind, games, n_jobs=1, cache=None, progress=False, title="games"
) -> pd.DataFrame:
    """The best-AI selection game on pairs of the test split, averaged over games.

    In each game ten pairs are drawn; in half of them the more pleasant scenario is the first. Columns are
    those of `experiments.summarise_games`, and right_first, the share of games in which some cone mixture of
    the judges puts the more pleasant scenario first in all ten pairs.
    """
    rows = run_draws(
        _game_draw,
        {
            "judges": judges["test"],
            "topics": data.topics["test"],
            "kind": kind,
            "sizes": list(GAME_PROVIDERS),
            **GAME,
            "seed": SEED,
        },
        games,
        n_jobs,
        cache,
        progress,
        title,
    )
    frame = pd.DataFrame(rows)
    right = frame.assign(right=frame["eps_cone"] < 0.5 - 1e-6).groupby("k")["right"].mean()
    table = summarise_games(frame, "").drop(columns="level")
    return table.assign(right_first=table["k"].map(right))


def _game_draw(judges, topics, kind, sizes, pairs, bid_step, seed, draw):
    rng = draw_generator(seed, draw)
    members = rng.permutation(len(judges))[: max(sizes)]
    signs = value_signs(kind, len(members), rng)
    drawn = rng.choice(judges.shape[1], pairs, replace=False)
    differences = judges[np.ix_(members, drawn)] * signs[:, topics[drawn]]
    first = np.arange(pairs) % 2 == 0
    return play_first(pair_market(differences, first), sizes, bid_step, draw)


# Other tables -----------------------------------------------------------------------------------------------


def model_table(data, scores) -> pd.DataFrame:
    """What single models reach, by set of pairs: the ceiling of the market, and simpler rules.

    Columns: model, pairs (the set), subset, n (pairs in it), accuracy, log_loss (of the model's own chances).
    """
    rows = []
    labels = {
        part: {
            "all": slice(None),
            "related": data.similarity[part] >= RELATED,
            "unrelated": data.similarity[part] < RELATED,
        }
        for part in SETS
    }

    def add(model, part, score, subset, chosen, chances=True):
        score = np.atleast_2d(score)[:, chosen]
        accuracy = np.where(score == 0, 0.5, score > 0).mean()
        loss = np.logaddexp(0, -score).mean() if chances else np.nan
        rows.append((model, part, subset, score.shape[1], accuracy, loss))

    for features, name in (("embeddings", ""), ("words", "words: ")):
        what, pool = data.features[features], scores[features]
        one = fit_reward(what["judges"])
        by_topic = topic_rewards(what["judges"], data.topics["judges"])
        for part in SETS:
            average = np.log1p(utility_differences(pool[part]).mean(axis=0))
            average = average - np.log1p(
                -utility_differences(pool[part]).mean(axis=0)
            )  # from chance to score
            for model, score in (
                ("one model, all pairs", what[part] @ one),
                ("a model for each topic, all pairs", topic_scores(by_topic, what[part], data.topics[part])),
                ("one judge", pool[part]),
                ("plain average of the pool", average),
            ):
                for subset, chosen in labels[part].items():
                    add(name + model, part, score, subset, chosen)
    for part in SETS:
        for subset, chosen in labels[part].items():
            add("the longer text", part, np.sign(data.words[part]), subset, chosen, chances=False)
    rows += _reversed_rows(data)
    return pd.DataFrame(rows, columns=["model", "pairs", "subset", "n", "accuracy", "log_loss"])


def _reversed_rows(data):
    """Models trained on labels that are reversed on three topics, for ten choices of the three."""
    what, rows = data.features["embeddings"], []
    for model in ("one model", "a model for each topic"):
        right, counts = [], []
        for start in range(len(TOPICS)):
            chosen = [(start + i) % len(TOPICS) for i in range(COMMON_TOPICS)]
            labelled = np.where(np.isin(data.topics["judges"], chosen), -1, 1)[:, None] * what["judges"]
            if model == "one model":
                score = what["new"] @ fit_reward(labelled)
            else:
                score = topic_scores(
                    topic_rewards(labelled, data.topics["judges"]), what["new"], data.topics["new"]
                )
            inside = np.isin(data.topics["new"], chosen)
            right.append([(score[inside] > 0).mean(), (score[~inside] > 0).mean()])
            counts.append([inside.sum(), (~inside).sum()])
        for i, subset in enumerate(("reversed topics", "other topics")):
            n = round(np.mean(counts, axis=0)[i])
            rows.append(
                (f"{model}, three topics reversed", "new", subset, n, np.mean(right, axis=0)[i], np.nan)
            )
    return rows


def score_table(data, scores) -> pd.DataFrame:
    """The embedded table: score differences of 60 judges with people's values on 340 pairs.

    No scenario is in two of the pairs of the set "new".

    Columns: pair; pairs, the set it is from; topic; words, the number of words of the more pleasant scenario
    minus that of the other; all_pairs, the score by one model trained on all pairs of the judges; j01 to j60.
    """
    one = fit_reward(data.features["embeddings"]["judges"])
    rng = np.random.default_rng(SEED)
    parts = []
    for part, wanted in TABLE_PAIRS.items():
        order = rng.permutation(len(data.pairs[part]))
        if part == "new":  # weights are fitted on some of these and judged on the others
            order = _apart(data.pairs[part], order)
        chosen = np.sort(order[:wanted])
        parts.append(
            pd.concat(
                [
                    pd.DataFrame(
                        {
                            "pair": data.pairs[part].index[chosen],
                            "pairs": part,
                            "topic": [TOPICS[t] for t in data.topics[part][chosen]],
                            "words": data.words[part][chosen],
                            "all_pairs": data.features["embeddings"][part][chosen] @ one,
                        }
                    ),
                    pd.DataFrame(
                        scores[part][:TABLE_JUDGES, chosen].T,
                        columns=[f"j{judge + 1:02d}" for judge in range(TABLE_JUDGES)],
                    ),
                ],
                axis=1,
            )
        )
    table = pd.concat(parts, ignore_index=True)
    numbers = table.select_dtypes("floating").columns
    table[numbers] = table[numbers].round(3) + 0.0
    return table


def _apart(pairs, order):
    """Those of the pairs in `order` that share no scenario with an earlier one."""
    met, chosen = set(), []
    for row in order:
        texts = {" ".join(text.lower().split()) for text in pairs.iloc[row]}
        if not texts & met:
            met |= texts
            chosen.append(row)
    return np.array(chosen)
