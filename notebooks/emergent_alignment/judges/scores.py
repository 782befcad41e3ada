"""From items and judges to a table of scores: the estimate, the calls, the ratings."""

from __future__ import annotations

import concurrent.futures
import datetime
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from .._validation import InputError, real_number, whole_number
from .answers import AnswerFile
from .client import Client
from .endpoint import Endpoint
from .personas import Judge, messages
from .ratings import HIGHEST, LOWEST, Rating, parse_rating
from .tables import check_items, check_names

# What a request says besides model and messages. A rating takes ten tokens; reasoning, hundreds.
SAMPLING = {"temperature": 0, "seed": 0, "max_tokens": 50}
# What the estimate assumes. English has four or more letters to a token, so it is on the high side.
BYTES_PER_TOKEN, TOKENS_PER_CALL, SECONDS_PER_CALL = 3, 20, 2


@dataclass(frozen=True)
class Estimate:
    """What is still to be paid for.

    calls : requests to send. on_disk : answers already there. prompt_tokens : one for three bytes of messages, and
    20 for each call. completion_tokens : the limit for each call. cost : in the currency of the prices, None
    without them. seconds : two for a call, as many calls at a time as allowed. Repeated attempts are not included.
    """

    host: str
    calls: int
    on_disk: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: int

    def __str__(self):
        cost = "not known (no prices given)" if self.cost is None else f"at most about {self.cost:.4g}"
        return (
            f"{self.calls:,} calls to {self.host}; {self.on_disk:,} answers are already on disk.\n"
            f"Tokens: about {self.prompt_tokens:,} to send (a token for three bytes), at most "
            f"{self.completion_tokens:,} to receive. Cost: {cost}. Time: about "
            f"{datetime.timedelta(seconds=self.seconds)} at {SECONDS_PER_CALL} seconds a call."
        )


class NotAccepted(RuntimeError):
    """Nothing was sent, because the estimate was not accepted."""


class Scored(NamedTuple):
    """The score table (items, judges), and a row (item, judge, reason) for each rating that is missing in it."""

    scores: pd.DataFrame
    missing: pd.DataFrame


def ask(plan: Estimate) -> bool:
    """Show the estimate and ask at the keyboard whether to send. Without a keyboard: no."""
    print(plan, flush=True)
    try:
        return input("Send? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def score_items(
    items,
    judges,
    domain,
    endpoint: Endpoint,
    *,
    cache,
    confirm: Callable[[Estimate], bool] = ask,
    prices: tuple[float, float] | None = None,
    sampling: Mapping = SAMPLING,
    concurrency: int = 4,
    progress: bool = True,
) -> Scored:
    """Have every judge rate every item. Utility is 0 at a rating of 0 and 1 at 10, NaN where there is none.

    Nothing is sent before `confirm` has got the estimate and returned true: `ask` shows it and asks,
    `lambda plan: plan.calls <= 500` accepts within a limit.

    Each answer is written to `cache` and forced to the disk as soon as it is there, under a hash of all that
    determines it: endpoint, model, messages and sampling. A run that was interrupted or killed goes on from there
    when it is started again. No request is paid for twice, except that a server may charge for an answer that
    never arrived (time-out, dropped connection) or that was none. A missing rating is an answer, too: it is not
    asked again. One file serves one run at a time (on Windows you must see to that).

    Parameters
    ----------
    items : dict or Series, item -> text. judges : a Judge or several, with different names.
    domain : "films", "ethics", "opinions", or a Domain. cache : path of the file of answers (JSON lines).
    prices : money for a million tokens sent, and received. sampling : what a request says besides model and
    messages, with max_tokens or max_completion_tokens. concurrency : calls at the same time. progress : show a bar.

    Raises
    ------
    NotAccepted before anything is sent. EndpointError if the endpoint cannot be used or fails for good, OSError if
    the file cannot be written, KeyboardInterrupt as usual: calls under way are then finished and kept, nothing is
    returned. InputError for arguments that do not fit.
    """
    answers, items = AnswerFile(cache), check_items(items)
    judges = (judges,) if isinstance(judges, Judge) else tuple(judges)
    if not all(isinstance(judge, Judge) for judge in judges) or not isinstance(endpoint, Endpoint):
        raise InputError("judges must be of Judge, and endpoint must be an Endpoint.")
    names = check_names((judge.name for judge in judges), "judges")
    if "item" in names:
        raise InputError("judges: none may have the name 'item', which is the first column of a score table.")
    if not isinstance(sampling, Mapping):
        raise InputError(f"sampling must be a dict; got {sampling!r}.")
    keys, requests = {}, {}  # of each (item, judge) the key of its request; and of each key the request
    for item, text in items.items():
        for judge in judges:
            request = {**sampling, "model": judge.model, "messages": messages(judge, text, domain)}
            content = {"endpoint": endpoint.url.split("://")[1] + "/chat/completions", "request": request}
            key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            keys[item, judge.name], requests[key] = key, request
    plan = _estimate(requests, answers.known, endpoint, prices, sampling, concurrency)
    if plan.calls:
        if not confirm(plan):
            raise NotAccepted(f"Nothing was sent: the estimate was not accepted.\n{plan}")
        with answers.held():
            _collect(_todo(requests, answers.known), answers, Client(endpoint), concurrency, progress)
    ratings = {cell: _rating(answers.known[key]) for cell, key in keys.items()}
    values = np.array([rating.value for rating in ratings.values()], dtype=float).reshape(
        len(items), len(names)
    )
    index = pd.Index(items, name="item", dtype=object)
    scores = pd.DataFrame((values - LOWEST) / (HIGHEST - LOWEST), index, names)
    missing = [(*cell, rating.reason) for cell, rating in ratings.items() if rating.value is None]
    return Scored(scores, pd.DataFrame(missing, columns=["item", "judge", "reason"]))


def _todo(requests, known):
    return {key: request for key, request in requests.items() if key not in known}


def _rating(answer):
    return Rating(None, answer.problem) if answer.problem else parse_rating(answer.text)


def _estimate(requests, known, endpoint, prices, sampling, concurrency):
    todo = _todo(requests, known)
    limit = sampling.get("max_completion_tokens", sampling.get("max_tokens"))
    received = whole_number(limit, "sampling: max_tokens", 1) * len(todo)
    sent = TOKENS_PER_CALL * len(todo)
    for request in todo.values():
        text = "".join(message["content"] for message in request["messages"])
        sent += math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)
    cost = None
    if prices is not None:
        if np.shape(prices) != (2,):
            raise InputError(
                f"prices must be two numbers, per million tokens sent and received; got {prices!r}."
            )
        per_sent, per_received = (real_number(price, "prices", 0) for price in prices)
        cost = (sent * per_sent + received * per_received) / 1e6
    seconds = math.ceil(len(todo) / whole_number(concurrency, "concurrency", 1, 256)) * SECONDS_PER_CALL
    return Estimate(endpoint.host, len(todo), len(requests) - len(todo), sent, received, cost, seconds)


def _collect(todo, answers, client, concurrency, progress):
    """Ask for every answer; on any failure finish what is under way, then raise."""

    def work(key, request):
        try:
            if answer := client.ask(request):
                answers.keep(key, answer)
        except Exception:
            client.stop.set()  # at once, so that this thread begins no further call
            raise

    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        try:
            waiting = [pool.submit(work, key, request) for key, request in todo.items()]
            done = concurrent.futures.as_completed(waiting)
            for future in tqdm(done, total=len(waiting), desc="judging", disable=not progress):
                future.result()
        finally:
            client.stop.set()
