"""Language models as judges, against a server on this machine that speaks the protocol, well and badly."""

import contextlib
import gzip
import json
import logging
import os
import pickle
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import InputError
from emergent_alignment.experiments import alignment_curves
from emergent_alignment.judges import (
    DOMAINS,
    KINDS,
    SAMPLING,
    Endpoint,
    EndpointError,
    Judge,
    NotAccepted,
    client,
    load_items,
    load_scores,
    make_judges,
    messages,
    parse_rating,
    score_items,
    scores,
    utilities,
)
from emergent_alignment.judges.__main__ import main
from emergent_alignment.judges.answers import Answer, AnswerFile
from fake_llm_server import FakeServer, Reply, chat, error
from hypothesis import example, given, settings
from hypothesis import strategies as st

KEY = "sk-live-0a1B2c3D4e5F6g7H"
VARIABLE = "TEST_JUDGES_KEY"
JUDGE = Judge("plain", "m", "You advise a viewer.", "plain")
PAIR = JUDGE, Judge("goal", "m", "You sell sequels.", "goal")
ITEMS = {f"film{i}": f"Film number {i}" for i in range(6)}
ONE = {"a": "A"}


@pytest.fixture(autouse=True)
def no_trace_of_the_key(monkeypatch, tmp_path, capfd, caplog):
    """Every test has a key in the environment; none may leave it in a file, an output or a log."""
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.0)
    caplog.set_level(logging.DEBUG)
    seen = []
    read = capfd.readouterr
    monkeypatch.setattr(capfd, "readouterr", lambda: seen.append(read()) or seen[-1])
    yield
    outputs = [text for output in (*seen, read()) for text in output] + [caplog.text]
    assert not any(shows_key(text) for text in outputs)
    for path in tmp_path.rglob("*"):
        assert not shows_key(str(path))
        assert not path.is_file() or not shows_key(path.read_bytes().decode("utf-8", "replace"))


def shows_key(text):
    return any(KEY[i : i + 8] in text for i in range(len(KEY) - 7))


def everything_shown(error):
    """The messages of an exception and all those behind it, and every local variable outside this file."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error.args)]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:
                texts += [repr(value) for value in frame.f_locals.values()]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


class Fails:
    """`with Fails(kind, pattern):` like pytest.raises; and nowhere in the exception does the key show."""

    def __init__(self, kind, pattern):
        self.kind, self.pattern = kind, pattern

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        assert kind is not None and issubclass(kind, self.kind), value
        assert re.search(self.pattern, str(value)), str(value)
        shown = everything_shown(value)
        assert not shows_key(shown), shown
        self.value = value
        return True


def rating(value, **more):
    return chat(f'{{"rating": {value}}}', **more)


def always(reply):
    return lambda number, payload: reply


def in_turn(*replies):
    """The replies one after the other, then 5 for ever."""
    return lambda number, payload: replies[number] if number < len(replies) else rating(5)


def by_text(number, payload):
    """A film's number is its rating; whatever the persona."""
    return rating(re.search(r"Film number (\d+)", payload["messages"][1]["content"])[1])


def yes(plan):
    return True


def run(server, items=ITEMS, judge=JUDGE, key_variable=VARIABLE, timeout=5, retries=3, **options):
    endpoint = Endpoint(getattr(server, "url", server), key_variable, timeout, retries)
    options = {"cache": "answers.jsonl", "confirm": yes, "progress": False, **options}
    return score_items(items, judge, "films", endpoint, **options)


class Stop:
    """In place of the event that ends a client's waits: notes them, without waiting."""

    def __init__(self):
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)


def waits_of(reply, failure="", retries=3):
    """The waits of a client before each attempt, until it has an answer or fails in that way; and the requests."""
    with FakeServer(reply) as server:
        asking = client.Client(Endpoint(server.url, VARIABLE, 5, retries))
        asking.stop = Stop()
        if failure:
            with Fails(EndpointError, failure):
                asking.ask({"model": "m"})
        else:
            assert asking.ask({"model": "m"}).text
    assert len(server.requests) == len(asking.stop.waits)
    return asking.stop.waits


def kept():
    with open("answers.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# Judges ------------------------------------------------------------------------------------------------------


def test_every_domain_has_all_kinds_in_its_own_words():
    texts = []
    for domain in DOMAINS:
        found = make_judges(domain, "m")
        count = {kind: sum(judge.kind == kind for judge in found) for kind in KINDS}
        assert count == {"plain": 1, "paraphrase": 5, "goal": 5, "adversarial": 3}
        assert len({judge.name for judge in found}) == len(found)
        texts += [judge.persona for judge in found]
    assert len(set(texts)) == len(texts) and all(len(text) > 60 for text in texts)


def test_judges_of_several_models_have_different_names():
    found = make_judges("ethics", ["a", "b"], "goal")
    assert [judge.model for judge in found] == ["a"] * 5 + ["b"] * 5 and found[5].name == "goal loyalty @b"
    assert len({judge.name for judge in found}) == 10 and {judge.kind for judge in found} == {"goal"}


def test_messages_hold_persona_question_scale_and_item():
    system, user = messages(JUDGE, "Ein Film über Öl", "films")
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith(JUDGE.persona)
    assert "from 0 (not at all) to 10 (as strongly as you can)" in system["content"]
    assert "between 0 and 10" in system["content"] and '{"rating": N}' in system["content"]
    assert "Ein Film über Öl" in user["content"] and DOMAINS["films"].question in user["content"]
    assert messages(Judge("j", "m", "", "plain"), "x", "films")[0]["content"].startswith("You are shown")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_judges("music", "m"), "domain must be one of 'films', 'ethics', 'opinions'"),
        (lambda: make_judges("films", "m", "hostile"), "kinds must be one of"),
        (lambda: Judge("a", "m", None, "plain"), "must be texts; got .*None"),
        (lambda: Judge("a", "m", "", "friendly"), "kind must be one of"),
        (lambda: Endpoint("https://host", timeout=0), "timeout must lie between"),
        (lambda: Endpoint("https://host", retries=-1), "retries must be between"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


# Ratings -----------------------------------------------------------------------------------------------------


def test_a_rating_in_the_form_asked_for_is_read():
    for text, value in (
        ("7", 7),
        (" 7.5\n", 7.5),
        ("0", 0),
        ("10", 10),
        ("-0", 0),
        ('{"rating": 7}', 7),
        ('\n{ "rating" : 2.25 }\n', 2.25),
        ('{"rating": 1e1}', 10),
        ('```json\n{"rating": 3}\n```', 3),
    ):
        found = parse_rating(text)
        assert found == (value, "") and np.copysign(1, found.value) == 1, text


@pytest.mark.parametrize(
    "texts",
    [
        "7 or 8|7/10|7 / 10|7-8|7, 8|7 8|about 7|Rating: 7|**7**|seven|VII|I cannot rate this.|```\n7\n```",
        '7.|.5|+7|07|7%|7!|7e0|1_0|7,5|٧|７|true|null|NaN|nan|Infinity|-Infinity|inf|[7]|"7"|7\x00|\ufeff7|\xa07',
        '{"rating": "7"}|{"rating": true}|{"rating": null}|{"rating": [7]}|{"rating": {}}|{"rating": 07}|{}',
        '{"rating": NaN}|{"rating": Infinity}|{"rating": 1e999}|{"rating": -1e999}|{"rating": 7|{rating: 7}',
        '{"rating": 7, "rating": 8}|{"rating": 7, "confidence": 9}|{"Rating": 7}|{"score": 7}|[["rating", 7]]',
        '{"rating": 7} {"rating": 7}|{"rating": 7} I think|{\'rating\': 7}',
        '11|-1|10.01|{"rating": 11}|{"rating": -0.5}',
        "|".join(["", " \n\t", "7" * 5000, "[" * 100_000, '{"rating": ' * 40, "7" + " " * 200]),
        '{"rating": %s}' % ("9" * 150),
    ],
)
def test_anything_else_is_missing_with_a_reason(texts):
    for text in texts.split("|"):
        value, reason = parse_rating(text)
        assert value is None and reason and len(reason) < 200, text


@given(st.text() | st.text('0123456789.-+eE/ {}":rating`json\n,NaIfy', max_size=30))
@example("```json\n7\n```")
@settings(deadline=None, max_examples=100)
def test_only_one_number_in_one_of_the_two_forms_is_ever_a_rating(text):
    value, reason = parse_rating(text)
    if value is None:
        assert reason
        return
    # An independent reading: one number, and round it nothing but the frame of the form.
    (number,) = re.findall(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", text)
    assert value == float(number) and 0 <= value <= 10 and not reason
    frame = re.sub(r"[ \t\r\n]", "", text.replace(number, "#", 1))
    assert frame in ("#", '{"rating":#}', '```{"rating":#}```', '```json{"rating":#}```')


@given(st.floats(-20, 20).map(lambda x: round(x, 3)) | st.integers(-20, 20), st.text(max_size=8))
@settings(deadline=None, max_examples=50)
def test_a_number_is_read_exactly_if_it_is_on_the_scale_and_alone(number, words):
    for text in (f"{number:.3f}", json.dumps({"rating": number})):
        value, reason = parse_rating(text)
        assert value == number if 0 <= number <= 10 else reason.startswith("off the scale")
        if words.strip(" \t\r\n") and not re.fullmatch(r"[-0-9.eE]+", words):
            assert parse_rating(f"{text} {words}").value is parse_rating(f"{words} {text}").value is None
        assert parse_rating(f"{text} {text}").value is None


# The endpoint and its key ------------------------------------------------------------------------------------


def test_an_address_that_cannot_be_used_is_refused_without_repeating_it():
    for url in (
        "localhost:11434/v1",
        "ftp://host/v1",
        f"https://user:{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/v1#{KEY}",
        "http://evil.com\\@localhost/v1",
        "http://localhost:99999/v1",
        "https://host/a b",
        "https:///v1",
        KEY,
        7,
        None,
    ):
        with pytest.raises(InputError, match="url must be the endpoint's base address") as failure:
            Endpoint(url)
        assert url is None or str(url) not in str(failure.value).replace("http://localhost:11434/v1", "")


def test_addresses_are_put_into_one_form():
    for end in ("/v1/", "/v1/chat/completions", "/v1 "):
        assert Endpoint(f"http://LocalHost:8080{end}").url == "http://localhost:8080/v1"


def test_a_key_goes_over_plain_http_to_this_machine_alone():
    for host in ("localhost:1", "127.0.0.1:8080", "[::1]:8080", "[::1]"):
        assert Endpoint(f"http://{host}/v1", VARIABLE).is_local
    for host in (
        *("example.org", "192.168.0.7:11434", "localhost.example.org", "x.localhost", "127.0.0.1.nip.io"),
        *("0.0.0.0", "2130706433", "127.0.0.1.:80"),
    ):
        with Fails(InputError, "over plain http anybody on the way could read the key"):
            Endpoint(f"http://{host}/v1", VARIABLE)
        assert not Endpoint(f"http://{host}/v1").is_local  # without a key it may be used
        assert Endpoint(f"https://{host}/v1", VARIABLE).key_variable == VARIABLE


def test_a_key_given_in_place_of_its_variable_is_refused_without_repeating_it():
    for name in ("SK_NOT_SET", "sk-not-a-name", "", 3.5):
        with Fails(InputError, "name of an environment variable that holds a key") as failure:
            Endpoint("https://host/v1", name)
        assert not name or str(name) not in str(failure.value)


def test_a_key_that_could_not_be_kept_out_of_sight_is_refused(monkeypatch):
    for key in ("", "short", "two words here", "a\r\nX-Evil: injected", 'quote"quote"', "schlüssel-ä"):
        monkeypatch.setenv(VARIABLE, key)
        with pytest.raises(InputError, match="holds a key: 8 or more") as failure:
            Endpoint("https://host/v1", VARIABLE)
        assert not key or key not in str(failure.value)


def test_no_object_shows_or_stores_the_key():
    endpoint = Endpoint("https://host/v1", VARIABLE)
    asking = client.Client(endpoint)
    shown = repr(endpoint) + repr(asking) + repr(vars(asking)) + repr(asking.key) + str(asking.key)
    assert not shows_key(shown) and not shows_key(pickle.dumps(endpoint).decode("latin-1"))
    with pytest.raises(TypeError, match="not to be stored"):
        pickle.dumps(asking.key)


def test_the_key_named_is_sent_and_no_other(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    secret = tmp_path / "netrc"
    secret.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(secret))
    with FakeServer(by_text) as server:
        run(server, {"a": "Film number 1"})
        run(server, {"a": "Film number 2"}, key_variable=None)
        run(server.url.replace("127.0.0.1", "0.0.0.0"), {"a": "Film number 3"}, key_variable=None)
    (_, named, _), (_, unnamed, _), (_, other_host, _) = server.requests
    assert named["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in unnamed and "Authorization" not in other_host


def test_a_proxy_comes_between_us_and_other_machines_alone(monkeypatch):
    with FakeServer(by_text) as proxy, FakeServer(by_text) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        run(server, {"a": "Film number 1"})
        assert len(server.requests) == 1 and not proxy.requests
        run("http://models.invalid/v1", {"a": "Film number 1"}, key_variable=None)
    assert proxy.requests[0][0] == "http://models.invalid/v1/chat/completions"


def test_the_key_is_read_again_before_it_is_sent(monkeypatch):
    with FakeServer(by_text) as server:
        endpoint = Endpoint(server.url, VARIABLE)
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(InputError, match="holds a key"):
            score_items(ITEMS, JUDGE, "films", endpoint, cache="answers.jsonl", confirm=yes)
        assert not server.requests


def test_a_redirect_is_not_followed():
    with FakeServer(by_text) as other:
        for status, target in ((301, other.url), (302, other.url), (307, other.url), (308, "http://[x")):
            headers = {"Location": target + "/chat/completions", "Set-Cookie": "a=b"}
            assert waits_of(
                always(Reply(b"", status, headers)), f"status {status}, a redirect: not followed"
            ) == [0]
        assert not other.requests


def test_a_server_that_repeats_the_key_is_not_quoted():
    for status in (400, 401, 403, 404, 429, 500):
        for message in (f"Incorrect API key provided: {KEY}.", f"Incorrect API key: {KEY[:9]}***{KEY[-4:]}"):
            waits_of(always(Reply(error(message), status)), f"status {status}", retries=1)


def test_an_answer_with_the_key_in_it_is_not_kept():
    body = chat(f"Your key is {KEY}") | {"model": KEY}
    with FakeServer(in_turn(body, chat(None, refusal=f"I will not use {KEY}"))) as server:
        found = run(server, {"a": "A", "b": "B"}, concurrency=1)
    assert found.missing["reason"].str.contains("withheld: it shows part of the key").all()
    assert kept()[0]["model"].startswith("[withheld")


# A run that goes well ----------------------------------------------------------------------------------------


def test_scores_are_utilities_of_items_by_judges():
    with FakeServer(by_text) as server:
        found = run(server, judge=PAIR)
    assert found.scores.index.name == "item" and list(found.scores.index) == list(ITEMS)
    assert list(found.scores.columns) == ["plain", "goal"] and found.missing.empty
    np.testing.assert_allclose(found.scores, np.arange(6)[:, None] / 10 * [[1, 1]])
    paths, headers, payloads = zip(*server.requests)
    assert set(paths) == {"/v1/chat/completions"} and headers[0]["Content-Type"] == "application/json"
    assert {payload["messages"][0]["content"] for payload in payloads} == {
        messages(judge, "", "films")[0]["content"] for judge in PAIR
    }
    assert {name: payloads[0][name] for name in payloads[0] if name != "messages"} == {
        "model": "m",
        **SAMPLING,
    }


def test_sampling_is_sent_as_it_is():
    with FakeServer(by_text) as server:
        run(server, sampling={"max_completion_tokens": 700, "model": "other"})
    payload = server.requests[0][2]
    assert payload.keys() == {"model", "messages", "max_completion_tokens"} and payload["model"] == "m"


def test_unicode_arrives_unchanged():
    text = "雨に唄えば 🎬 “Füße”\n</item> \ud83d"  # a lone surrogate, too
    half = Reply(b'{"choices": [{"message": {"content": "\\ud83d"}, "finish_reason": "stop"}]}')
    with FakeServer(in_turn(chat("７ 点 🙂"), rating(8), half)) as server:
        found = run(server, {"フィルム": "雨に唄えば 🎬", "b": text, "c": "C"}, concurrency=1)
    assert "雨に唄えば 🎬\n</item>" in server.requests[0][2]["messages"][1]["content"]
    assert text in server.requests[1][2]["messages"][1]["content"]
    assert list(found.scores.index) == ["フィルム", "b", "c"] and found.scores.loc["b", "plain"] == 0.8
    found.missing.to_csv("missing.csv")
    assert "７ 点 🙂" in found.missing.loc[0, "reason"] and "'?'" in found.missing.loc[1, "reason"]
    assert kept()[2]["text"] == "\ud83d"


def test_one_request_serves_items_with_the_same_text():
    with FakeServer(by_text) as server:
        found = run(server, {"a": "Film number 4", "b": "Film number 4", "c": "Film number 5"})
    assert len(server.requests) == 2 and list(found.scores["plain"]) == [0.4, 0.4, 0.5]


def test_no_more_calls_at_the_same_time_than_allowed():
    items = {f"film{i}": f"Film number {i % 10}, part {i}" for i in range(9)}
    for limit in (1, 3):
        together = threading.Barrier(limit)  # no call is answered before so many are under way

        def reply(number, payload, together=together):
            together.wait(60)
            return Reply(by_text(number, payload), delay=0.05)  # time for a call too many to show

        with FakeServer(reply) as server:
            run(server, items, concurrency=limit, cache=f"{limit}.jsonl", timeout=60)
        assert server.most == limit and len(server.requests) == 9


def test_progress_goes_to_stderr(capfd):
    with FakeServer(by_text) as server:
        run(server, progress=True)
    output = capfd.readouterr()
    assert not output.out and "judging: 100%" in output.err


# Answers without a rating ------------------------------------------------------------------------------------

WITHOUT = {
    "refusal in words": (chat("I'm sorry, I can't."), "not one number in the form asked for"),
    "refusal": (chat(None, refusal="No."), "refusal 'No.'"),
    "refusal with a rating": (chat("7", refusal="No."), "refusal 'No.'"),
    "filtered answer": (chat(None, "content_filter"), "finish_reason 'content_filter'"),
    "filtered rating": (chat("7", "content_filter"), "finish_reason 'content_filter'"),
    "filtered request": (Reply(error("policy", "content_filter"), 400), "content filter refused the request"),
    "cut short": (chat("1", "length"), "finish_reason 'length'"),
    "tool call": (chat(None, "tool_calls", tool_calls=[]), "finish_reason 'tool_calls'"),
    "no end": (chat("1", None), "finish_reason 'None'"),
    "no choice": ({"choices": []}, "no finished text: 0 choices"),
    "two choices": ({"choices": rating(3)["choices"] * 2}, "no finished text: 2 choices"),
    "number for text": (chat(7), "no finished text: 1 choices, finish_reason 'stop'"),
    "parts for text": (chat([{"type": "text", "text": "7"}]), "no finished text"),
    "empty": (chat(""), "empty"),
    "endless": (Reply(b" " * 1_500_000, headers={"Content-Length": 10**12}), "longer than 1,000,000 bytes"),
    "endless, packed": (
        Reply(gzip.compress(b" " * 20_000_000), headers={"Content-Encoding": "gzip"}),
        "longer than 1,000,000 bytes",
    ),
    "long": (chat("7" + " " * 500_000 + "or 8"), "not one number but"),
    "off the scale": (rating(11), "off the scale 0 to 10"),
}


def test_an_answer_without_a_rating_is_missing_with_its_reason_and_not_asked_again():
    items = {name: f"Film {name}" for name in WITHOUT} | {"good": "Film good"}

    def reply(number, payload):
        name = re.search("Film (.*)\n", payload["messages"][1]["content"])[1]
        return WITHOUT.get(name, (rating(6),))[0]

    with FakeServer(reply) as server:
        found = run(server, items)
        assert len(server.requests) == len(items)
        again = run(server, items, confirm=None)
        assert len(server.requests) == len(items)
    assert found.scores["plain"].isna().sum() == len(WITHOUT) and found.scores.loc["good", "plain"] == 0.6
    for item, judge, reason in found.missing.itertuples(index=False):
        assert judge == "plain" and WITHOUT[item][1] in reason, (item, reason)
    pd.testing.assert_frame_equal(found.scores, again.scores)
    pd.testing.assert_frame_equal(found.missing, again.missing)
    assert os.path.getsize("answers.jsonl") < 20_000


# Trouble that passes -----------------------------------------------------------------------------------------

WHOLE = json.dumps(rating(1)).encode()
CHUNKED = {"Transfer-Encoding": "chunked"}
PASSING = {
    "not JSON": Reply(b'{"choices": [{"mess'),
    "a web page": Reply(b"<html>It works!</html>"),
    "not UTF-8": Reply(b'{"choices": "\xff"}'),
    "deeply nested": Reply(b"[" * 200_000),
    "another schema": {"result": 7},
    "a list": [1, 2],
    "no choices": {"choices": None},
    "choices of another kind": {"choices": {"0": 7}},
    "a choice of another kind": {"choices": [7]},
    "no message": {"choices": [{"finish_reason": "stop"}]},
    "message of another kind": {"choices": [{"message": "7", "finish_reason": "stop"}]},
    "an error with status 200": error("upstream is busy"),
    "an answer that failed upstream": chat("1", "error"),
    "nothing": Reply(b""),
    "not packed as it says": Reply(WHOLE, headers={"Content-Encoding": "gzip"}),
    "rate limit": Reply(error("slow down"), 429),
    "server error": Reply(b"oops", 500),
    "bad gateway": Reply(b"<html>", 502),
    "overloaded": Reply(error("overloaded"), 529),
    "time-out of the server": Reply(b"", 408),
    "dropped in the body": Reply(WHOLE, cut=len(WHOLE) // 2),
    "dropped before the body": Reply(WHOLE, cut=0),
    "dropped in a chunk": Reply(b"ff\r\n" + WHOLE, headers=CHUNKED),
    "a wait that cannot be read": Reply(b"", 429, {"Retry-After": "soon"}),
    "a wait below zero": Reply(b"", 429, {"Retry-After": "-7"}),
}
SLOW = {
    "too slow": Reply(WHOLE, delay=9),
    "body drop by drop": Reply(WHOLE, drip=0.05),
    "head drop by drop": Reply(WHOLE, drip=0.05, slow_head=True),
    "redirect drop by drop": Reply(WHOLE, 302, {"Location": "http://127.0.0.1:9/"}, drip=0.05),
}


def test_passing_trouble_is_tried_again():
    items = {name: f"Film {name}" for name in PASSING}
    asked = set()

    def reply(number, payload):
        name = re.search("Film (.*)\n", payload["messages"][1]["content"])[1]
        first, _ = name not in asked, asked.add(name)
        return PASSING[name] if first else rating(9)

    with FakeServer(reply) as server:
        assert (run(server, items, concurrency=1, retries=1).scores == 0.9).all(axis=None)
    assert len(server.requests) == 2 * len(PASSING) and len(kept()) == len(PASSING)


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_reply_is_given_up_in_time_and_tried_again(name):
    started = time.monotonic()
    with FakeServer(in_turn(SLOW[name], rating(9))) as server:
        assert run(server, ONE, timeout=0.3, retries=20).scores.loc["a", "plain"] == 0.9
    assert len(server.requests) >= 2 and len(kept()) == 1 and time.monotonic() - started < 8


def test_a_packed_answer_is_read():
    reply = Reply(gzip.compress(WHOLE), headers={"Content-Encoding": "gzip"})
    assert waits_of(always(reply)) == [0]


def test_a_connection_closed_without_a_reply_is_tried_again():
    listener = socket.create_server(("127.0.0.1", 0))
    body = b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(rating(4)).encode()

    def serve():
        for number in range(2):
            connection, _ = listener.accept()
            request = b""
            while not request.endswith(b"}"):  # unread bytes would make it a reset
                request += connection.recv(65536)
            if number:
                connection.sendall(body)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    assert run(url, ONE, retries=1).scores.loc["a", "plain"] == 0.4
    listener.close()


def test_waits_double_up_to_the_longest_and_the_client_then_gives_up(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT", 1.0)
    busy = always(Reply(error("busy"), 503))
    waits = waits_of(busy, "attempt 9", retries=8)[1:]
    longest = np.minimum(2.0 ** np.arange(8), 120)
    assert (longest / 2 <= waits).all() and (waits < longest).all() and len(waits) == 8
    monkeypatch.setattr(client, "LONGEST_WAIT", 10.0)
    monkeypatch.setattr(client.random, "uniform", lambda low, high: high)
    failure = r"status 503: 'busy' \(attempt 7\). Answers so far are kept"
    assert waits_of(busy, failure, retries=6) == [0, 1, 2, 4, 8, 10, 10]


def test_retry_after_is_honoured_as_a_number_and_as_a_date(monkeypatch):
    monkeypatch.setattr(client, "time", SimpleNamespace(time=lambda: 1_700_000_000.0))
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(1_700_000_030))
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    headers = [{"Retry-After": value} for value in ("7", "0.5", soon, past, "nan", "Wed, 99 Foo")]
    waits = waits_of(in_turn(*(Reply(b"", 429, header) for header in headers)), retries=9)
    assert waits == [0, 7, 0.5, 30, 0, 0, 0]


def test_a_server_that_asks_for_too_long_a_wait_ends_the_run():
    for asked, seconds in (("3600", "3600"), ("9" * 400, "inf")):
        reply = always(Reply(b"", 429, {"Retry-After": asked}))
        assert waits_of(reply, f"asks to wait {seconds} seconds") == [0]


def test_a_run_that_is_stopped_does_not_sit_out_its_waits():
    def reply(number, payload):
        first = "number 0" in payload["messages"][1]["content"]
        return Reply(b"", 429, {"Retry-After": "100"}) if first else Reply(b"", 401, delay=0.2)

    started = time.monotonic()
    with FakeServer(reply) as server, Fails(EndpointError, "status 401"):
        run(server, {"a": "Film number 0", "b": "B"}, concurrency=2)
    assert time.monotonic() - started < 5


# Trouble that lasts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, error("Use 'max_completion_tokens' instead."), ".*max_completion_tokens' instead"),
        (401, error("no"), ", it wants a key, or does not accept the one in key_variable"),
        (402, error("Insufficient balance"), ": 'Insufficient balance'"),
        (403, b"", " "),
        (404, error("model not found"), ", there is no such model, or the base address.*: 'model not found'"),
        (413, b"<html>", " "),
        (422, {"error": "bad"}, ": 'bad'"),
        (429, error("You exceeded your quota", "insufficient_quota"), ": 'You exceeded your quota'"),
    ],
)
def test_lasting_trouble_ends_the_run_at_once(status, body, message):
    assert waits_of(always(Reply(body, status)), f"status {status}{message}") == [0]
    with FakeServer(always(Reply(body, status))) as server:
        with Fails(EndpointError, f"127.0.0.1:[0-9]+: status {status}{message}"):
            run(server, ONE)
        assert kept() == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ConnectionRefusedError(111, "refused"), "refused .attempt 1"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "self-signed .attempt 1"),
        (socket.gaierror(socket.EAI_NONAME, "no such host"), "no such host .attempt 4"),
        (UnicodeError("label too long"), "UnicodeError .attempt 4"),
        (OSError(f"Tunnel failed: Authorization: Bearer {KEY}"), "ConnectionError .attempt 4"),
    ],
)
def test_a_host_that_cannot_be_reached_is_reported(failure, message, monkeypatch):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.1", 9))])
    with Fails(EndpointError, f"^host: it failed: {message}"):
        run("https://host/v1", ONE)


# The estimate ------------------------------------------------------------------------------------------------


def test_the_estimate_counts_what_is_not_on_disk():
    plans = []

    def refuse(plan):
        plans.append((plan, len(server.requests)))

    with FakeServer(by_text) as server:
        run(server, dict(list(ITEMS.items())[:2]), judge=PAIR)
        options = {"judge": PAIR, "confirm": refuse, "concurrency": 3}
        with pytest.raises(NotAccepted, match="Nothing was sent.*\n8 calls to 127.0.0.1"):
            run(server, prices=(2, 10), **options)
        with pytest.raises(NotAccepted, match="not known"):
            run(server, sampling={"max_completion_tokens": 9}, **options)
    (found, sent), (other, _) = plans
    assert sent == len(server.requests) == found.on_disk == 4
    texts = [
        sum(len(m["content"].encode()) for m in messages(judge, text, "films"))
        for judge in PAIR
        for text in list(ITEMS.values())[2:]
    ]
    assert found.calls == 8 and found.prompt_tokens == sum(-(-size // 3) + 20 for size in texts)
    assert found.completion_tokens == 8 * 50 and found.seconds == 3 * 2 and other.completion_tokens == 12 * 9
    assert found.cost == pytest.approx((found.prompt_tokens * 2 + 400 * 10) / 1e6)
    shown = str(found)
    assert "4 answers are already on disk" in shown and "Cost: at most about 0.00" in shown
    assert "Time: about 0:00:06 at 2 seconds a call" in shown


def test_nothing_is_sent_before_the_estimate_is_accepted(monkeypatch, capfd, tmp_path):
    def ask(prompt):
        assert capfd.readouterr().out.startswith("6 calls to 127.0.0.1") and "[y/N]" in prompt
        assert not server.requests
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr("builtins.input", ask)
    with FakeServer(by_text) as server:
        for answer in ("n", "", "maybe", EOFError()):
            with pytest.raises(NotAccepted):
                run(server, confirm=scores.ask)
        assert not server.requests and list(tmp_path.iterdir()) == []
        answer = " Yes "
        run(server, confirm=scores.ask)
        answer = AssertionError()  # nothing to pay: nothing to ask
        run(server, confirm=scores.ask)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prices": (1, -1)}, "prices must be at least 0"),
        ({"prices": (1, 2, 3)}, "prices must be two"),
        ({"prices": 3}, "prices must be two"),
        ({"sampling": {}}, "sampling: max_tokens must be a whole number"),
        ({"concurrency": 0}, "concurrency must be between 1 and 256"),
        ({"cache": None}, "cache must be the path"),
        ({"items": {}}, "items must be one or more"),
        ({"items": ["a"]}, "items must be a dict or Series"),
        ({"items": {"a": " "}}, "items: 'a' must have a text"),
        ({"items": pd.Series(["x", "y"], index=["a", "a"])}, "items must be .*'a'"),
        ({"items": {1: "x", "1": "y"}}, "items must be .*'1'"),
        ({"judge": []}, "judges must be one or more"),
        ({"judge": ["plain"]}, "judges must be of Judge"),
        ({"judge": [JUDGE, JUDGE]}, "judges must be .*'plain'"),
        ({"judge": Judge("item", "m", "", "plain")}, "none may have the name 'item'"),
    ],
)
def test_arguments_that_do_not_fit_send_nothing(options, message):
    with FakeServer(by_text) as server:
        with pytest.raises(InputError, match=message):
            run(server, **options)
        assert not server.requests


# Answers on disk ---------------------------------------------------------------------------------------------


def test_a_run_that_failed_half_way_goes_on_without_paying_again():
    def reply(number, payload):
        return by_text(number, payload) if number != 4 else Reply(b"", 401)

    with FakeServer(reply) as server:
        with Fails(EndpointError, "status 401"):
            run(server, judge=PAIR, concurrency=2)
        assert len(kept()) == len(server.requests) - 1 >= 4
        assert run(server, judge=PAIR).missing.empty and len(server.requests) == 12 + 1


def interrupt(futures, **_):
    """In place of the progress bar: Ctrl-C after three answers."""
    for count, future in enumerate(futures):
        if count == 3:
            raise KeyboardInterrupt
        yield future


def test_an_interrupted_run_does_not_sit_out_its_waits(monkeypatch):
    def reply(number, payload):
        asked = payload["messages"][1]["content"]
        return Reply(b"", 429, {"Retry-After": "100"}) if "number 0" in asked else by_text(number, payload)

    started = time.monotonic()
    monkeypatch.setattr(scores, "tqdm", interrupt)
    with FakeServer(reply) as server, pytest.raises(KeyboardInterrupt):
        run(server, concurrency=2)
    assert time.monotonic() - started < 5


def test_an_interrupted_run_keeps_all_that_was_sent(monkeypatch):
    clients = []

    def noted(endpoint):
        clients.append(client.Client(endpoint))
        return clients[-1]

    def reply(number, payload):
        """After five answers the server keeps the next two calls waiting until the run has been stopped."""
        assert number < 5 or clients[0].stop.wait(60)
        return by_text(number, payload)

    with FakeServer(reply) as server:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(scores, "tqdm", interrupt)
            patch.setattr(scores, "Client", noted)
            run(server, judge=PAIR, concurrency=2, timeout=60)
        first = len(server.requests)
        assert 4 <= first <= 7 and len(kept()) == first
        assert run(server, judge=PAIR).scores.notna().all(axis=None)
        assert len(server.requests) == 12


COMMAND = "--items items.csv --domain films --model m --kinds plain paraphrase --yes --out scores.csv"


def write_items(count):
    rows = {
        "item": [f"film{i}" for i in range(count)],
        "text": [f"Film number {i % 10}, part {i}" for i in range(count)],
    }
    pd.DataFrame(rows).to_csv("items.csv", index=False)


def test_a_killed_run_goes_on_and_a_torn_line_costs_one_answer():
    write_items(8)
    killed = threading.Event()

    def reply(number, payload):
        return Reply(by_text(number, payload), delay=0 if number < 15 or killed.is_set() else 1)

    with FakeServer(reply) as server:
        arguments = [*COMMAND.split(), "--base-url", server.url, "--key-variable", VARIABLE]
        process = subprocess.Popen(
            [sys.executable, "-m", "emergent_alignment.judges", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(server.requests) < 15:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        answers = AnswerFile("scores_answers.jsonl")
        with pytest.raises(InputError, match="in use by another run"), answers.held():
            pass
        process.kill()  # SIGKILL: no chance to clean up
        killed.set()
        output = process.communicate()
        assert process.returncode != 0 and not shows_key("".join(output))
        time.sleep(0.1)
        sent = len(server.requests)
        with open("scores_answers.jsonl", "r+b") as file:
            data = file.read()
            whole = data[: data.rindex(b"\n", 0, len(data) - 1) + 1]  # without the last line, torn or not
            file.truncate(len(whole) + 30)
        answers = whole.count(b"\n")
        assert sent - 4 - 1 <= answers < sent  # the calls under way, and the one torn here
        for _ in range(2):
            with warnings.catch_warnings(action="ignore"):  # of the torn line
                assert main(arguments) == 0
            assert len(server.requests) == sent + 48 - answers
            assert load_scores("scores.csv").shape == (8, 6)


def line(name, text="7"):
    return json.dumps({"key": name, **Answer(text)._asdict()}).encode() + b"\n"


def test_threads_do_not_mix_their_lines(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # for speed
    answers = AnswerFile("answers.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: answers.keep(f"{n}", Answer(f"{n}" * 30_000)), range(40)))
    assert AnswerFile("answers.jsonl").known == answers.known and len(answers.known) == 40


def test_a_file_torn_at_any_byte_is_read_and_repaired(tmp_path, monkeypatch):
    path = tmp_path / "answers.jsonl"
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # for speed
    for first, cuts in ((line("a"), range(len(line("b", "8 ü")) + 1)), (b"", (0, 1, 9, 10, 60))):
        for cut in cuts:
            path.write_bytes(first + line("b", "8 ü")[:cut])
            answers = AnswerFile(path)
            before = {"a"} if first else set()
            assert answers.known.keys() == before | ({"b"} if cut == len(line("b", "8 ü")) else set())
            answers.keep("c", Answer("9"))
            whole = cut >= len(line("b", "8 ü")) - 1
            torn = cut and not whole
            with pytest.warns(UserWarning, match="1 damaged") if torn else contextlib.nullcontext():
                assert AnswerFile(path).known.keys() == before | ({"b", "c"} if whole else {"c"}), cut
            assert path.read_bytes().startswith(first + line("b", "8 ü")[:cut])  # only ever appended to


def test_damaged_lines_are_passed_over_and_counted(tmp_path):
    bad = [b"{}", b"[1]", b"null", b"\x00\x00", b'{"key": "d"}', b"7", b"\xff", b"[" * 5000, b""]
    bad += [line("d").replace(b'"7"', value).rstrip() for value in (b"7", b"null", b"{}")]
    (tmp_path / "answers.jsonl").write_bytes(line("a") + b"\n".join(bad) + b"\n" + line("b"))
    with pytest.warns(UserWarning, match="12 damaged lines"):
        assert AnswerFile("answers.jsonl").known.keys() == {"a", "b"}


def test_a_file_of_something_else_is_left_alone(tmp_path):
    for content in ("item,plain\na,0.5\n", '{"rows": 3}'):
        (tmp_path / "other.csv").write_text(content)
        with FakeServer(by_text) as server, pytest.raises(InputError, match="is not a file of answers"):
            run(server, cache="other.csv")
        assert (tmp_path / "other.csv").read_text() == content and not server.requests


def test_a_place_that_cannot_be_written_is_found_before_anything_is_sent(tmp_path):
    (tmp_path / "file").write_text("")
    with FakeServer(by_text) as server:
        for place in ("file/answers.jsonl", str(tmp_path)):
            with pytest.raises(OSError, match="File exists|Is a directory"):
                run(server, cache=place)
        assert not server.requests


def test_a_disk_that_fills_up_ends_the_run(monkeypatch):
    def full(handle, sync=os.fsync):
        if len(server.requests) == 3:
            raise OSError(28, "No space left on device")
        sync(handle)

    with FakeServer(by_text) as server:
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(os, "fsync", full)
            run(server, concurrency=1)
        assert len(server.requests) == 3
        assert run(server).missing.empty


def test_a_file_removed_during_a_run_does_not_harm_the_run(tmp_path):
    def reply(number, payload):
        if number == 3:
            (tmp_path / "answers.jsonl").unlink()
        return by_text(number, payload)

    with FakeServer(reply) as server:
        assert run(server, concurrency=1).missing.empty and len(server.requests) == 6 and len(kept()) == 3


def test_an_answer_is_on_the_disk_before_the_next_request(monkeypatch):
    """With one call at a time, request n finds n synced answers."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: fsync(handle) or synced.append(len(kept())))

    def reply(number, payload):
        assert synced[-1] == len(kept()) == number
        return by_text(number, payload)

    with FakeServer(reply) as server:
        assert run(server, concurrency=1).missing.empty


def test_whatever_determines_an_answer_is_part_of_its_key():
    base = {"items": {"a": "Film number 1"}}
    others = [
        {"items": {"a": "Film number 2"}},
        {"judge": Judge("plain", "m2", JUDGE.persona, "plain")},
        {"judge": Judge("plain", "m", "Another persona.", "plain")},
        *({"sampling": SAMPLING | more} for more in ({"temperature": 0.5}, {"seed": 1}, {"max_tokens": 9})),
        {"sampling": {"max_tokens": 50}},
    ]
    same = [
        {"items": {"b": "Film number 1"}},
        {"judge": Judge("renamed", "m", JUDGE.persona, "goal")},
        {"sampling": dict(reversed(SAMPLING.items()))},
        {"concurrency": 1, "prices": (1, 1), "key_variable": None},
    ]
    with FakeServer(by_text) as server:
        for options in [base, *others]:
            run(server, **(base | options))
        assert len(server.requests) == 1 + len(others)
        for options in same:
            run(server, **(base | options))
        assert len(server.requests) == 1 + len(others)
        run(server.url + "/other", **base)
        assert len(server.requests) == 2 + len(others)


def test_one_file_serves_one_run_at_a_time():
    def reply(number, payload):
        if number == 0:
            with pytest.raises(InputError, match="answers.jsonl is in use by another run"):
                run(server, judge=PAIR)
        return by_text(number, payload)

    with FakeServer(reply) as server:
        run(server, judge=PAIR, concurrency=1)
        assert len(server.requests) == 12 == len(kept())
        answers = AnswerFile("answers.jsonl")
        run(server, judge=Judge("other", "m", "", "plain"))
        with answers.held():  # what another run has added meanwhile is taken up
            assert len(answers.known) == 18
        answers.keep("late", Answer("7"))  # its call was under way when a second Ctrl-C ended the wait for it
    assert "late" in AnswerFile("answers.jsonl").known


# Score tables ------------------------------------------------------------------------------------------------


def test_a_score_table_survives_the_way_through_a_file():
    with FakeServer(in_turn(chat("no"), rating(3.3))) as server:
        found = run(server, {"007": "x", "a, b": "y", "ü\n": "z"}, judge=PAIR, concurrency=1)
    found.scores.to_csv("scores.csv")
    loaded = load_scores("scores.csv")
    pd.testing.assert_frame_equal(loaded, found.scores, check_index_type=False, check_column_type=False)
    assert loaded.index[0] == "007" and loaded.isna().sum().sum() == 1
    with open("scores.csv", encoding="utf-8") as file:
        assert file.readline() == "item,plain,goal\n"


def test_a_table_of_something_else_is_refused(tmp_path):
    for content, message in (
        ("", "cannot be read"),
        ("item\na\n", "header"),
        ("Item,j\na,1\n", "header"),
        ("item,j\n", "items in .* must be one or more"),
        ("item,j\na,1.01\n", "j on a must .*1.01"),
        ("item,j\na,-0.1\n", "-0.1"),
        ("item,j\na,inf\n", "inf"),
        ("item,j\na,NA\n", "'NA'"),
        ("item,j\na,True\n", "'True'"),
        ("item,j\na,1_0\n", "10"),
        ("item,j\na,0.5,\n", "3 values .*the header 2"),
        ("item,j\na\n", "1 values .*the header 2"),
        ("item,item\na,1\n", "name of its own; got .*'item'"),
        ("item,j,j\na,1,1\n", "name of its own; got .*'j'"),
        ("item,j,\na,1,1\n", "name of its own"),
        ("item,j\na,1\na,0\n", "name of its own; got .*'a'"),
        ("item,j\n,1\n", "name of its own"),
        ('item,j\n"a,1\n', "cannot be read"),
        ("\udcff", "cannot be read"),
    ):
        (tmp_path / "scores.csv").write_text(content, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(InputError, match=message):
            load_scores("scores.csv")
    with pytest.raises(InputError, match="cannot be read"):
        load_scores("nowhere.csv")


def test_a_table_may_come_from_a_spreadsheet(tmp_path):
    (tmp_path / "scores.csv").write_bytes("\ufeffitem,j,k\r\nä,1,\r\n\r\nb, 0.5 ,1e-3\r\n".encode())
    expected = pd.DataFrame({"j": [1, 0.5], "k": [np.nan, 0.001]}, index=pd.Index(["ä", "b"], name="item"))
    pd.testing.assert_frame_equal(
        load_scores("scores.csv"), expected, check_index_type=False, check_column_type=False
    )


def test_utilities_are_what_the_experiments_take():
    rng = np.random.default_rng(3)
    table = rng.random((30, 5))
    table[[4, 9], [0, 2]] = np.nan
    found = pd.DataFrame(table, index=[f"i{n}" for n in range(30)], columns=list("abcde"))
    values, dropped = utilities(found)
    assert dropped == ("i4", "i9") and values.shape == (5, 28)
    np.testing.assert_array_equal(values, np.delete(table, [4, 9], axis=0).T)
    curves = alignment_curves(values, [1, 2], draws=2)
    assert set(curves["k"]) == {1, 2} and np.isfinite(curves["test"]).all()
    found = pd.DataFrame({"a": [0.1, np.nan], "b": [np.nan, np.nan]}, index=["x", "y"])
    with pytest.raises(InputError, match="Leave out judge 'b' first"):
        utilities(found)
    for nothing in (pd.DataFrame(), pd.DataFrame(columns=["a"]), [[0.5]]):
        with pytest.raises(InputError, match="^scores must be a table"):
            utilities(nothing)


# The command line --------------------------------------------------------------------------------------------


def command(server, *more):
    write_items(3)
    base = "--items items.csv --domain films --model m --kinds plain goal --out scores.csv --prices 1 2"
    return [*base.split(), "--base-url", server.url, "--key-variable", VARIABLE, *more]


def test_the_command_writes_scores_and_reasons(capfd, tmp_path):
    with FakeServer(in_turn(chat("seven"))) as server:
        sampling = '{"seed": 5, "max_tokens": 9}'
        assert main(command(server, "--yes", "--concurrency", "1", "--sampling", sampling)) == 0
    output = capfd.readouterr().out
    assert output.startswith("18 calls to 127.0.0.1") and "Cost: at most about" in output
    assert "Wrote scores.csv: 3 items, 6 judges, 1 ratings missing (reasons in scores_missing.csv)" in output
    assert load_scores("scores.csv").isna().sum().sum() == 1
    assert "seven" in (tmp_path / "scores_missing.csv").read_text()
    payload = server.requests[0][2]
    assert payload["seed"] == 5 and "temperature" not in payload
    assert {path.name for path in tmp_path.iterdir()} == {
        *("items.csv", "scores.csv", "scores_missing.csv", "scores_answers.jsonl")
    }


def test_the_command_asks_before_it_sends(capfd, monkeypatch, tmp_path):
    with FakeServer(by_text) as server:
        monkeypatch.setattr("builtins.input", lambda prompt: "n")
        assert main(command(server)) == 1 and "Nothing was sent" in capfd.readouterr().err
        assert not server.requests and not (tmp_path / "scores.csv").exists()
        monkeypatch.setattr("builtins.input", lambda prompt: "y")
        assert main(command(server)) == 0 and len(server.requests) == 18


def test_the_command_reports_what_stops_it(capfd, tmp_path):
    for more, message in (
        (["--items", "nowhere.csv"], "cannot be read as a table"),
        (["--key-variable", "NOT_SET_AT_ALL"], "name of an environment variable that holds a key"),
        (["--base-url", "localhost"], "url must be"),
        (["--sampling", "[]"], "sampling must be"),
        (["--out", "items.csv/scores.csv"], "File exists"),
    ):
        with FakeServer(by_text) as server:
            assert main(command(server, "--yes", *more)) == 1
            assert message in capfd.readouterr().err and not server.requests
    with FakeServer(always(Reply(error(f"bad key {KEY}"), 401))) as server:
        assert main(command(server, "--yes")) == 1
    assert "it wants a key" in capfd.readouterr().err and not (tmp_path / "scores.csv").exists()


def test_a_key_on_the_command_line_is_refused_and_not_repeated(capfd):
    for words in (["--key", KEY], [f"--api-key={KEY}"], [KEY]):
        with FakeServer(by_text) as server, pytest.raises(SystemExit):
            main(command(server, "--yes", *words))
        assert "an option or a value too many" in capfd.readouterr().err and not server.requests


def test_an_interrupted_command_says_how_to_go_on(monkeypatch, capfd):
    monkeypatch.setattr(scores, "tqdm", interrupt)
    with FakeServer(by_text) as server:
        assert main(command(server, "--yes")) == 130
    assert "the same command goes on from here" in capfd.readouterr().err


def test_items_are_read_as_text(tmp_path):
    (tmp_path / "items.csv").write_text("text,item,year\nNA,007,1\n1984,b,2\n")
    assert load_items("items.csv") == {"007": "NA", "b": "1984"}
    for content, message in (
        ("item,title\na,b\n", "columns item and text"),
        ("", "cannot be read"),
        ("item,text\na,\n", "must have a text"),
        ("item,text,text\na,b,c\n", "the columns of items.csv must be .*'text'"),
    ):
        (tmp_path / "items.csv").write_text(content)
        with pytest.raises(InputError, match=message):
            load_items("items.csv")
