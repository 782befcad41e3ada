"""Language models as judges, against a server on this machine that speaks the protocol, well and badly."""

import itertools
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
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import InputError, judges
from emergent_alignment.experiments import alignment_curves
from emergent_alignment.judges import (
    DOMAINS,
    KINDS,
    Endpoint,
    EndpointError,
    Judge,
    NotAccepted,
    Patience,
    Prices,
    Sampling,
    Scale,
    estimate,
    load_items,
    load_scores,
    main,
    make_judges,
    messages,
    parse_rating,
    score_items,
    utilities,
)
from fake_llm_server import FakeServer, Reply, chat, error
from hypothesis import example, given, settings
from hypothesis import strategies as st

KEY = "sk-live-0a1B2c3D4e5F6g7H"
VARIABLE = "TEST_JUDGES_KEY"
JUDGE = Judge("plain", "m", "You advise a viewer.", "plain")
PAIR = JUDGE, Judge("goal", "m", "You sell sequels.", "goal")
ITEMS = {f"film{i}": f"Film number {i}" for i in range(6)}


@pytest.fixture(autouse=True)
def no_trace_of_the_key(monkeypatch, tmp_path, capfd, caplog):
    """Every test has a key in the environment; none may leave it in a file, an output or a log."""
    monkeypatch.delenv(judges.URL_VARIABLE, raising=False)
    monkeypatch.delenv(judges.KEY_VARIABLE, raising=False)
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.chdir(tmp_path)
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


def run(server, items=ITEMS, judge=JUDGE, waits=None, **options):
    """score_items against the server, without really waiting."""
    patience = {"retries": 3, "timeout": 5, "jitter": lambda: 1.0, "sleep": (waits or []).append}
    if waits is not None:
        patience["sleep"] = waits.append
    patience |= options.pop("patience", {})
    options = {"cache": "answers.jsonl", "max_calls": 1000, "progress": False, **options}
    key_variable = options.pop("key_variable", VARIABLE)
    return score_items(
        items, judge, "films", Endpoint(server.url, key_variable), patience=Patience(**patience), **options
    )


def kept():
    with open("answers.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# Judges ------------------------------------------------------------------------------------------------------


def test_every_domain_has_all_kinds_in_its_own_words():
    texts = []
    for domain, count in itertools.product(
        DOMAINS, ({"plain": 1, "paraphrase": 5, "goal": 5, "adversarial": 3},)
    ):
        found = make_judges(domain, "m")
        assert {kind: sum(judge.kind == kind for judge in found) for kind in KINDS} == count
        assert len({judge.name for judge in found}) == len(found)
        texts += [judge.persona for judge in found]
    assert len(set(texts)) == len(texts) and all(len(text) > 60 for text in texts)


def test_judges_of_several_models_have_different_names():
    found = make_judges("ethics", ["a", "b"], "goal")
    assert len({judge.name for judge in found}) == len(found) == 10
    assert [judge.model for judge in found] == ["a"] * 5 + ["b"] * 5 and "goal loyalty @b" in {
        j.name for j in found
    }


def test_messages_hold_persona_question_scale_and_item():
    system, user = messages(JUDGE, "Ein Film über Öl", "films", Scale(1, 5))
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith(JUDGE.persona) and "from 1 (not at all) to 5 (as" in system["content"]
    assert "between 1 and 5" in system["content"] and '{"rating": N}' in system["content"]
    assert "Ein Film über Öl" in user["content"] and DOMAINS["films"].question in user["content"]
    assert messages(Judge("j", "m", "", "plain"), "x", "films")[0]["content"].startswith("You are shown")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_judges("music", "m"), "domain must be one of 'films', 'ethics', 'opinions'"),
        (lambda: make_judges("films", "m", "hostile"), "kinds must be one of"),
        (lambda: make_judges("films", []), "at least one"),
        (lambda: Judge("", "m", "", "plain"), "name must be one line"),
        (lambda: Judge("item", "m", "", "plain"), "name must not be 'item'"),
        (lambda: Judge("a", "m\nx", "", "plain"), "model must be one line"),
        (lambda: Judge("a", "m", None, "plain"), "persona must be text"),
        (lambda: Judge("a", "m", "", "friendly"), "kind must be one of"),
        (lambda: Scale(3, 3), "high must be above low"),
        (lambda: Sampling(temperature=3), "temperature must lie between"),
        (lambda: Sampling(limit_name="tokens"), "limit_name must be one of"),
        (lambda: Patience(timeout=0), "timeout must be above 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


# Ratings -----------------------------------------------------------------------------------------------------

TICKS = "```"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        (" 7.5\n", 7.5),
        ("0", 0),
        ("10", 10),
        ("-0", 0),
        ('{"rating": 7}', 7),
        ('\n{ "rating" : 2.25 }\n', 2.25),
        ('{"rating": 1e1}', 10),
        (f'{TICKS}json\n{{"rating": 3}}\n{TICKS}', 3),
        (f"{TICKS}\n4\n{TICKS}", None),
    ],
)
def test_a_rating_in_the_form_asked_for_is_read(text, value):
    found = parse_rating(text)
    assert found.value == value and bool(found.reason) == (value is None)
    assert value is None or np.copysign(1, found.value) == 1


@pytest.mark.parametrize(
    "text",
    """7 or 8|7/10|7 / 10|7-8|7, 8|7 8|7.|.5|+7|07|7%|7!|about 7|Rating: 7|**7**|seven|7e0|1_0|7,5|٧|７|VII|true|null|
NaN|nan|Infinity|-Infinity|inf|[7]|{"rating": "7"}|{"rating": true}|{"rating": null}|{"rating": [7]}|{"rating": {}}|
{"rating": NaN}|{"rating": Infinity}|{"rating": 1e999}|{"rating": -1e999}|{"rating": 7, "rating": 8}|{"rating": 7
|{"rating": 7, "confidence": 9}|{"Rating": 7}|{"score": 7}|{"rating": 7} {"rating": 7}|{"rating": 7} I think|{rating: 7}
|{'rating': 7}|"7"|{}|{"rating": 07}|I cannot rate this.|I'm sorry, but I can't help with that.|11|-1|10.01|{"rating": 11}
|{"rating": -0.5}|[["rating", 7]]""".replace("\n", "").split("|"),
)
def test_anything_else_is_missing_with_a_reason(text):
    value, reason = parse_rating(text)
    assert value is None and reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "7\x00",
        "\ufeff7",
        "\xa07",
        "7" * 5000,
        "[" * 100_000,
        '{"rating": ' * 40,
        '{"rating": %s}' % ("9" * 150),
    ],
)
def test_odd_texts_are_missing_too(text):
    value, reason = parse_rating(text)
    assert value is None and reason and len(reason) < 200


@given(st.text() | st.text('0123456789.-+eE/ {}":rating`json\n,NaIfy', max_size=30))
@example("```json\n7\n```")
@settings(deadline=None, max_examples=300)
def test_only_one_number_in_one_of_the_two_forms_is_ever_a_rating(text):
    value, reason = parse_rating(text, Scale(-50, 50))
    if value is None:
        assert reason
        return
    # An independent reading: one number, and round it nothing but the frame of the form.
    (number,) = re.findall(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", text)
    assert value == float(number) and -50 <= value <= 50 and not reason
    frame = re.sub(r"[ \t\r\n]", "", text.replace(number, "#", 1))
    assert frame in ("#", '{"rating":#}', '```{"rating":#}```', '```json{"rating":#}```')


@given(
    st.floats(-20, 20).map(lambda x: round(x, 3)) | st.integers(-20, 20),
    st.tuples(st.integers(-20, 19), st.integers(1, 20)).map(lambda t: Scale(t[0], t[0] + t[1])),
)
@settings(deadline=None)
def test_a_number_is_read_exactly_if_it_is_on_the_scale(number, scale):
    for text in (f"{number:.3f}", json.dumps({"rating": number})):
        value, reason = parse_rating(text, scale)
        if scale.low <= number <= scale.high:
            assert value == number and not reason
        else:
            assert value is None and reason.startswith("off the scale")


@given(st.integers(0, 10), st.integers(0, 10), st.text(max_size=8).filter(lambda t: t.strip(" \t\r\n")))
@settings(deadline=None)
def test_words_and_second_numbers_are_never_passed_over(first, second, words):
    assert parse_rating(f"{first} {second}").value is None
    assert parse_rating(f"{first}/{second}").value is None
    assert parse_rating(f'{{"rating": {first}}} {words}').value is None
    if not re.fullmatch(r"[-0-9.]+", words.strip()):
        assert parse_rating(f"{first} {words}").value is None


# The endpoint and its key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
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
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url):
    with pytest.raises(InputError, match="url must be the endpoint's base address") as failure:
        Endpoint(url)
    assert url is None or str(url) not in str(failure.value).replace("http://localhost:11434/v1", "")


def test_addresses_are_put_into_one_form():
    for url in (
        "http://LocalHost:8080/v1/",
        "http://localhost:8080/v1/chat/completions",
        " http://localhost:8080/v1",
    ):
        assert Endpoint(url).url == "http://localhost:8080/v1"


def test_address_and_key_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(judges.URL_VARIABLE, "https://host/v1")
    assert Endpoint() == Endpoint("https://host/v1", None)
    monkeypatch.setenv(judges.KEY_VARIABLE, KEY)
    assert Endpoint().key_variable == judges.KEY_VARIABLE


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"])
def test_a_key_may_go_over_plain_http_to_this_machine(host):
    assert Endpoint(f"http://{host}/v1", VARIABLE).is_local


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "192.168.0.7:11434",
        "localhost.example.org",
        "x.localhost",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "2130706433",
    ],
)
def test_a_key_never_goes_over_plain_http_to_another_machine(host):
    with Fails(InputError, "over plain http anybody on the way could read the key"):
        Endpoint(f"http://{host}/v1", VARIABLE)
    assert not Endpoint(f"http://{host}/v1").is_local  # without a key it may be used
    assert Endpoint(f"https://{host}/v1", VARIABLE).key_variable == VARIABLE


def test_a_key_given_in_place_of_its_variable_is_refused_without_repeating_it():
    for name in ("SK_NOT_SET", "sk-not-a-name", "", 3):
        with Fails(InputError, "name of an environment variable that is set") as failure:
            Endpoint("https://host/v1", name)
        assert not name or str(name) not in str(failure.value)


@pytest.mark.parametrize(
    "key", ["", "short", "two words here", "a\r\nX-Evil: injected", 'quote"quote"', "schlüssel-ä"]
)
def test_a_key_that_could_not_be_kept_out_of_sight_is_refused(key, monkeypatch):
    monkeypatch.setenv(VARIABLE, key)
    with pytest.raises(InputError, match=f"The environment variable {VARIABLE} must hold a key") as failure:
        Endpoint("https://host/v1", VARIABLE)
    assert not key or key not in str(failure.value)


def test_no_object_shows_or_stores_the_key():
    endpoint = Endpoint("https://host/v1", VARIABLE)
    client = judges._Client(endpoint, Patience())
    shown = repr(endpoint) + repr(client) + repr(vars(client)) + repr(client.key) + str(client.key)
    assert not shows_key(shown) and not shows_key(pickle.dumps(endpoint).decode("latin-1"))
    with pytest.raises(TypeError, match="not to be stored"):
        pickle.dumps(client.key)


def test_the_key_is_sent_as_a_bearer_token_only_if_named(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a proxy must not come between
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with FakeServer(by_text) as server:
        run(server, {"a": "Film number 1"})
        run(server, {"a": "Film number 2"}, key_variable=None)
    (_, named, _), (_, unnamed, _) = server.requests
    assert named["Authorization"] == f"Bearer {KEY}" and "Authorization" not in unnamed


def test_the_key_is_read_again_before_it_is_sent(monkeypatch):
    with FakeServer(by_text) as server:
        endpoint = Endpoint(server.url, VARIABLE)
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(InputError, match="must hold a key"):
            score_items(ITEMS, JUDGE, "films", endpoint, cache="answers.jsonl", max_calls=9)
        assert not server.requests


def test_a_redirect_is_not_followed():
    with FakeServer(by_text) as other:
        for status in (301, 302, 307, 308):
            with FakeServer(
                always(Reply(b"", status, {"Location": other.url + "/chat/completions"}))
            ) as server:
                with Fails(EndpointError, f"status {status}, a redirect. It is not followed"):
                    run(server)
                assert all("Cookie" not in headers for _, headers, _ in server.requests)
        assert not other.requests


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
def test_a_server_that_repeats_the_key_is_not_quoted(status):
    for message in (f"Incorrect API key provided: {KEY}.", f"Incorrect API key: {KEY[:9]}***{KEY[-4:]}"):
        with (
            FakeServer(always(Reply(error(message), status))) as server,
            Fails(EndpointError, f"status {status}"),
        ):
            run(server, patience={"retries": 1})


def test_a_key_in_an_answer_is_cut_out_before_it_is_kept():
    body = chat(f"Your key is {KEY}") | {"model": KEY}
    refusal = chat(None, refusal=f"I will not use {KEY}")
    with FakeServer(in_turn(body, refusal)) as server:
        found = run(server, dict(list(ITEMS.items())[:2]), concurrency=1)
    assert list(found.missing["reason"]) == [
        "not one number in the form asked for: 'Your key is [key]'",
        "the model refused: 'I will not use [key]'",
    ]
    assert kept()[0]["model"] == "[key]"


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
    assert payloads[0].keys() == {"model", "messages", "temperature", "seed", "max_tokens"}
    assert [payloads[0][name] for name in ("model", "temperature", "seed", "max_tokens")] == ["m", 0, 0, 50]


def test_ratings_are_scaled_to_the_ends_of_the_scale():
    with FakeServer(by_text) as server:
        found = run(
            server, {"a": "Film number 1", "b": "Film number 2", "c": "Film number 5"}, scale=Scale(1, 5)
        )
    assert list(found.scores["plain"]) == [0, 0.25, 1]


def test_numbers_left_to_the_endpoint_are_not_sent():
    with FakeServer(by_text) as server:
        run(server, sampling=Sampling(None, None, 700, "max_completion_tokens"))
    assert server.requests[0][2].keys() == {"model", "messages", "max_completion_tokens"}


def test_unicode_arrives_unchanged():
    text = "雨に唄えば 🎬 “Füße”\n</item> \ud83d"  # a lone surrogate, too
    with FakeServer(in_turn(chat("７ 点 🙂"), rating(8))) as server:
        found = run(server, {"フィルム": "雨に唄えば 🎬", "b": text}, concurrency=1)
    assert "雨に唄えば 🎬\n</item>" in server.requests[0][2]["messages"][1]["content"]
    assert text in server.requests[1][2]["messages"][1]["content"]
    assert list(found.scores.index) == ["フィルム", "b"] and found.scores.loc["b", "plain"] == 0.8
    assert "７ 点 🙂" in found.missing.loc[0, "reason"]


def test_a_half_surrogate_in_an_answer_can_be_kept_and_shown():
    with FakeServer(
        always(Reply(b'{"choices": [{"message": {"content": "\\ud83d"}, "finish_reason": "stop"}]}'))
    ) as server:
        found = run(server, {"a": "A"})
    found.missing.to_csv("missing.csv")
    assert kept()[0]["text"] == "\ud83d" and "?" in found.missing.loc[0, "reason"]


def test_one_request_serves_items_with_the_same_text():
    with FakeServer(by_text) as server:
        found = run(server, {"a": "Film number 4", "b": "Film number 4", "c": "Film number 5"})
    assert len(server.requests) == 2 and list(found.scores["plain"]) == [0.4, 0.4, 0.5]


def test_no_more_calls_at_the_same_time_than_allowed():
    def slowly(number, payload):
        return Reply(by_text(number, payload), delay=0.05)

    items = {f"film{i}": f"Film number {i % 10}, part {i}" for i in range(14)}
    for limit in (1, 3):
        with FakeServer(slowly) as server:
            run(server, items, concurrency=limit, cache=f"{limit}.jsonl")
        assert server.most == limit and len(server.requests) == 14


def test_progress_goes_to_stderr(capfd):
    with FakeServer(by_text) as server:
        run(server, progress=True)
    output = capfd.readouterr()
    assert not output.out and "6 calls to 127.0.0.1" in output.err and "judging: 100%" in output.err


# Answers without a rating ------------------------------------------------------------------------------------

WITHOUT = {
    "refusal in words": (chat("I'm sorry, I can't."), "not one number in the form asked for"),
    "refusal": (chat(None, refusal="No."), "the model refused: 'No.'"),
    "filtered answer": (chat(None, "content_filter"), "content filter stopped the answer"),
    "filtered rating": (chat("7", "content_filter"), "content filter stopped the answer"),
    "filtered request": (Reply(error("policy", "content_filter"), 400), "content filter refused the request"),
    "cut short": (chat("1", "length"), "not finished (finish_reason 'length'; raise max_tokens)"),
    "tool call": (chat(None, "tool_calls", tool_calls=[]), "holds no text"),
    "no end": (chat("1", None), "not finished (finish_reason None)"),
    "no choice": ({"choices": []}, "holds no choice"),
    "two choices": ({"choices": rating(3)["choices"] * 2}, "several choices"),
    "no message": ({"choices": [{"finish_reason": "stop"}]}, "holds no text"),
    "message of another kind": ({"choices": [{"message": "7", "finish_reason": "stop"}]}, "holds no text"),
    "number for text": (chat(7), "holds no text"),
    "parts for text": (chat([{"type": "text", "text": "7"}]), "holds no text"),
    "empty": (chat(""), "empty"),
    "endless": (chat("7" + " " * 1_000_000), "longer than 1,000,000 bytes"),
    "long": (chat("7" + " " * 500_000 + "or 8"), "not one number but"),
    "padded": (chat("7" + " " * 500_000), "not one number but"),
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
        again = run(server, items, max_calls=0)
        assert len(server.requests) == len(items)
    assert found.scores["plain"].isna().sum() == len(WITHOUT) and found.scores.loc["good", "plain"] == 0.6
    for item, judge, reason in found.missing.itertuples(index=False):
        assert judge == "plain" and WITHOUT[item][1] in reason, (item, reason)
    pd.testing.assert_frame_equal(found.scores, again.scores)
    pd.testing.assert_frame_equal(found.missing, again.missing)
    assert os.path.getsize("answers.jsonl") < 20_000


# Trouble that passes -----------------------------------------------------------------------------------------

WHOLE = json.dumps(rating(1)).encode()
PASSING = {
    "not JSON": Reply(b'{"choices": [{"mess'),
    "a web page": Reply(b"<html>It works!</html>"),
    "not UTF-8": Reply(b'{"choices": "\xff"}'),
    "deeply nested": Reply(b"[" * 200_000),
    "another schema": {"result": 7},
    "a list": [1, 2],
    "choices of another kind": {"choices": {"0": 7}},
    "a choice of another kind": {"choices": [7]},
    "an error with status 200": error("upstream is busy"),
    "an answer that failed upstream": chat("1", "error"),
    "nothing": Reply(b""),
    "rate limit": Reply(error("slow down"), 429),
    "server error": Reply(b"oops", 500),
    "bad gateway": Reply(b"<html>", 502),
    "overloaded": Reply(error("overloaded"), 529),
    "time-out of the server": Reply(b"", 408),
    "dropped in the body": Reply(WHOLE, cut=len(WHOLE) // 2),
    "dropped before the body": Reply(WHOLE, cut=0),
    "too slow": Reply(WHOLE, delay=1.5),
    "drop by drop": Reply(WHOLE, drip=0.02),
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_trouble_is_tried_again(name):
    waits = []
    with FakeServer(in_turn(PASSING[name], rating(9))) as server:
        timeout = 0.5 if name in ("too slow", "drop by drop") else 5
        found = run(server, {"a": "A"}, waits=waits, patience={"timeout": timeout})
    assert found.scores.loc["a", "plain"] == 0.9 and len(server.requests) == 2 and waits == [1.0]
    assert len(kept()) == 1


def test_a_dropped_reply_is_called_that():
    with (
        FakeServer(always(Reply(WHOLE, cut=len(WHOLE) // 2))) as server,
        Fails(EndpointError, r"the connection failed \(IncompleteRead\), 4 times"),
    ):
        run(server, {"a": "A"})


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
    waits = []
    server = type("S", (), {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"})
    assert run(server, {"a": "A"}, waits=waits).scores.loc["a", "plain"] == 0.4 and waits == [1.0]
    listener.close()


def test_waits_double_up_to_the_longest_and_the_run_then_gives_up():
    waits = []
    with (
        FakeServer(always(Reply(error("busy"), 503))) as server,
        Fails(EndpointError, r"status 503: 'busy', 7 times.*judge 'plain', item 'a'"),
    ):
        run(server, {"a": "A"}, waits=waits, patience={"retries": 6, "longest_wait": 10})
    assert waits == [1, 2, 4, 8, 10, 10] and len(server.requests) == 7 and kept() == []


def test_jitter_shortens_a_wait_to_half_at_most():
    patience = Patience(first_wait=2, jitter=lambda: 0.0)
    assert patience.wait(0, 0) == 1 and patience.wait(1, 0) == 2 and patience.wait(10**6, 3) == 63
    waits = [Patience().wait(2, 0) for _ in range(200)]
    assert 2 <= min(waits) < max(waits) <= 4


def test_retry_after_is_honoured_as_a_number_and_as_a_date():
    soon = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    replies = [Reply(b"", 429, header) for header in ({"Retry-After": "7"}, soon, {"Retry-After": "soon"})]
    waits = []
    with FakeServer(in_turn(*replies)) as server:
        run(server, {"a": "A"}, waits=waits, patience={"clock": lambda: 1445412480 - 30})
    assert waits == [7 + 1, 30 + 2, 4]


def test_a_server_that_asks_for_too_long_a_wait_ends_the_run():
    with (
        FakeServer(always(Reply(b"", 429, {"Retry-After": "3600"}))) as server,
        Fails(EndpointError, "asks to wait 3600 seconds. Start again then"),
    ):
        run(server, {"a": "A"})
        assert len(server.requests) == 1


def test_a_run_that_is_stopped_does_not_sit_out_its_waits():
    def reply(number, payload):
        return (
            Reply(b"", 429, {"Retry-After": "100"})
            if "number 0" in payload["messages"][1]["content"]
            else Reply(b"", 401, delay=0.2)
        )

    started = time.monotonic()
    with FakeServer(reply) as server, Fails(EndpointError, "status 401"):
        run(server, dict(list(ITEMS.items())[:2]), concurrency=2, patience={"sleep": None})
    assert time.monotonic() - started < 5


# Trouble that lasts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, error("Use 'max_completion_tokens' instead."), "max_completion_tokens' instead.*limit_name="),
        (401, error("no"), f"The key in {VARIABLE} is wrong, expired or not allowed to use 'm'"),
        (402, error("Insufficient balance"), "credit or quota is used up: 'Insufficient balance'"),
        (403, b"", f"The key in {VARIABLE} is wrong"),
        (404, error("model not found"), "no model 'm', or the base address is wrong.*: 'model not found'"),
        (413, b"<html>", "does not accept the request"),
        (422, {"error": "bad"}, "does not accept the request: 'bad'"),
        (429, error("You exceeded your quota", "insufficient_quota"), "credit or quota is used up"),
    ],
)
def test_lasting_trouble_ends_the_run_at_once(status, body, message):
    waits = []
    with (
        FakeServer(always(Reply(body, status))) as server,
        Fails(EndpointError, f"status {status}.*{message}.*item 'a'"),
    ):
        run(server, {"a": "A"}, waits=waits)
    assert len(server.requests) == 1 and not waits


def test_without_a_key_a_401_says_how_to_give_one():
    with (
        FakeServer(always(Reply(b"", 401))) as server,
        Fails(EndpointError, "It wants a key: put it in an environment variable"),
    ):
        run(server, key_variable=None)


def test_a_server_that_is_not_there_is_reported_at_once():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waits = []
    with Fails(EndpointError, "refuses the connection. Is the server running"):
        run(type("S", (), {"url": f"http://127.0.0.1:{port}/v1"}), waits=waits)
    assert not waits


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "there is no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), r"the connection failed \(gaierror\), 4 times"),
        (ssl.SSLCertVerificationError(1, "x"), "certificate could not be verified"),
        (OSError("Tunnel connection failed: 407"), "the connection failed"),
        (UnicodeError("label too long"), "the connection failed"),
    ],
)
def test_hosts_that_cannot_be_reached(failure, message, monkeypatch):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(socket, "create_connection", fail)
    with Fails(EndpointError, f"host: .*{message}"):
        run(type("S", (), {"url": "https://host/v1"}))


# The estimate ------------------------------------------------------------------------------------------------


def test_the_estimate_counts_what_is_not_on_disk():
    with FakeServer(by_text) as server:
        endpoint = Endpoint(server.url)
        run(server, dict(list(ITEMS.items())[:2]), judge=PAIR, key_variable=None)
        sent = len(server.requests)
        found = estimate(
            ITEMS, PAIR, "films", endpoint, cache="answers.jsonl", prices=(2, 10), concurrency=3, latency=1.5
        )
        assert len(server.requests) == sent == found.on_disk == 4
    texts = [
        sum(len(m["content"].encode()) for m in messages(judge, text, "films"))
        for judge in PAIR
        for text in list(ITEMS.values())[2:]
    ]
    assert found.calls == 8 and found.prompt_tokens == sum(-(-size // 3) + 20 for size in texts)
    assert found.completion_tokens == 8 * 50 and found.seconds == 3 * 1.5
    assert found.cost == pytest.approx((found.prompt_tokens * 2 + 400 * 10) / 1e6)
    shown = str(found)
    assert (
        "8 calls to 127.0.0.1" in shown
        and "4 answers are already on disk" in shown
        and "Cost: at most" in shown
    )
    assert "not known" in str(estimate(ITEMS, PAIR, "films", endpoint))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 seconds"), (119, "119 seconds"), (600, "10 minutes"), (9000, "2 hours")]
)
def test_times_are_told_in_plain_units(seconds, text):
    assert judges._duration(seconds) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_calls": None}, "accept the estimate by max_calls, max_cost or confirm"),
        ({"max_calls": 5}, "6 calls are more than max_calls=5"),
        ({"max_calls": None, "prices": (1, 1), "max_cost": 0.0001}, "cost may exceed max_cost=0.0001"),
        ({"max_calls": 5, "confirm": lambda plan: True}, "more than max_calls"),
        ({"confirm": lambda plan: False}, "was not confirmed"),
    ],
)
def test_nothing_is_sent_before_the_estimate_is_accepted(options, message, tmp_path):
    with FakeServer(by_text) as server:
        with pytest.raises(NotAccepted, match=message) as failure:
            run(server, **options)
        assert (
            not server.requests and failure.value.estimate.calls == 6 and "6 calls to" in str(failure.value)
        )
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_is_shown_before_the_first_call():
    seen = []
    with FakeServer(by_text) as server:
        run(
            server,
            confirm=lambda plan: seen.append((plan.calls, len(server.requests))) or True,
            max_calls=None,
        )
        assert seen == [(6, 0)]
        run(server, confirm=lambda plan: 1 / 0, max_calls=None)  # nothing to pay: nothing to confirm
        run(server, max_calls=None, prices=Prices(1, 1), max_cost=0)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_cost": 1}, "max_cost needs prices"),
        ({"prices": (1, -1)}, "prices must lie between 0"),
        ({"prices": 3}, "prices must be two numbers"),
        ({"prices": (1, 2, 3)}, "prices must be two numbers"),
        ({"max_calls": -1}, "max_calls must be at least 0"),
        ({"concurrency": 0}, "concurrency must be between 1 and 256"),
        ({"latency": -1}, "latency must lie"),
        ({"cache": None}, "cache must be the path"),
        ({"items": {}}, "items must hold at least one"),
        ({"items": ["a"]}, "items must be a dict or Series"),
        ({"items": {"a": " "}}, "items: 'a' must have a text"),
        ({"items": pd.Series(["x", "y"], index=["a", "a"])}, "different names"),
        ({"items": {1: "x", "1": "y"}}, "different names"),
        ({"judge": []}, "judges must hold at least one Judge"),
        ({"judge": ["plain"]}, "judges must hold at least one Judge"),
        ({"judge": [JUDGE, JUDGE]}, "'plain' is there twice"),
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

    with FakeServer(reply) as server, Fails(EndpointError, "status 401"):
        run(server, judge=PAIR, concurrency=2)
        answered = len(server.requests) - 1
        assert len(kept()) == answered
        found = run(server, judge=PAIR)
        assert len(server.requests) == 12 + 1 and found.missing.empty


def test_an_interrupted_run_keeps_all_that_was_sent(monkeypatch):
    def interrupt(futures, **_):
        for count, future in enumerate(futures):
            if count == 3:
                raise KeyboardInterrupt
            yield future

    with FakeServer(lambda n, p: Reply(by_text(n, p), delay=0.01 if n < 5 else 0.3)) as server:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(judges, "tqdm", interrupt)
            run(server, judge=PAIR, concurrency=2)
        first = len(server.requests)
        assert 4 <= first < 12 and len(kept()) == first
        assert run(server, judge=PAIR).scores.notna().all(axis=None)
        assert len(server.requests) == 12


COMMAND = "--items items.csv --domain films --model m --kinds plain paraphrase --yes --latency 0"


def write_items(count):
    rows = {
        "item": [f"film{i}" for i in range(count)],
        "text": [f"Film number {i % 10}, part {i}" for i in range(count)],
    }
    pd.DataFrame(rows).to_csv("items.csv", index=False)


def start(server, out):
    command = [sys.executable, "-m", "emergent_alignment.judges", *COMMAND.split(), "--base-url", server.url]
    command += ["--key-variable", VARIABLE, "--out", out, "--cache", "answers.jsonl"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_and_a_torn_line_costs_one_answer():
    write_items(8)
    killed = threading.Event()

    def reply(number, payload):
        return Reply(by_text(number, payload), delay=0 if number < 15 or killed.is_set() else 1)

    with FakeServer(reply) as server:
        process = start(server, "scores.csv")
        while len(server.requests) < 15:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.kill()  # SIGKILL: no chance to clean up
        killed.set()
        output = process.communicate()
        assert process.returncode != 0 and not shows_key("".join(output))
        time.sleep(0.1)
        sent = len(server.requests)
        with open("answers.jsonl", "r+b") as file:
            data = file.read()
            whole = data[: data.rindex(b"\n", 0, len(data) - 1) + 1]  # without the last line, torn or not
            file.truncate(len(whole) + 30)
        answers = whole.count(b"\n")
        again = [
            *COMMAND.split(),
            "--base-url",
            server.url,
            "--out",
            "scores.csv",
            "--cache",
            "answers.jsonl",
        ]
        assert sent - 4 - 1 <= answers < sent  # the calls under way, and the one torn here
        assert main(again) == 0
        assert len(server.requests) == sent + 48 - answers
        assert load_scores("scores.csv").shape == (8, 6)
        assert main(again) == 0
        assert len(server.requests) == sent + 48 - answers


def record(name, text="7"):
    return {"key": name, **judges._record(text, finish_reason="stop")}


def line(name, text="7"):
    return json.dumps(record(name, text)).encode() + b"\n"


def test_a_file_torn_at_any_byte_is_read_and_repaired(tmp_path, monkeypatch):
    first, second, third = line("a"), line("b", "8 ü"), line("c")
    path = tmp_path / "answers.jsonl"
    monkeypatch.setattr(judges.os, "fsync", lambda handle: None)  # for speed
    for cut in range(len(second) + 1):
        path.write_bytes(first + second[:cut])
        answers = judges._Answers(path)
        answers.refresh()
        assert answers.known.keys() == ({"a", "b"} if cut == len(second) else {"a"})
        answers.append(third)
        answers.refresh()
        for reader in (answers, judges._Answers(path)):
            reader.refresh()
            whole = cut >= len(second) - 1
            assert reader.known.keys() == ({"a", "b", "c"} if whole else {"a", "c"}), cut
            assert reader.damaged == (0 < cut < len(second) - 1)
        assert path.read_bytes().startswith(first + second[:cut])  # only ever appended to


def test_the_first_line_may_be_torn_too(tmp_path):
    path = tmp_path / "answers.jsonl"
    for cut in (0, 1, 5, 9, 10, 11, 60, len(line("a")) - 1):
        path.write_bytes(line("a")[:cut])
        answers = judges._Answers(path)
        answers.prepare()
        answers.append(line("b"))
        answers.refresh()
        assert "b" in answers.known


@pytest.mark.parametrize(
    "bad", [b"{}", b"[1]", b"null", b"\x00\x00", b'{"key": "a"}', b"7", b"\xff", b"[" * 5000]
)
def test_damaged_lines_are_passed_over_and_counted(bad, tmp_path):
    path = tmp_path / "answers.jsonl"
    wrong = record("d") | {"text": 7}
    path.write_bytes(line("a") + bad + b"\n" + json.dumps(wrong).encode() + b"\n" + line("b"))
    answers = judges._Answers(path)
    answers.refresh()
    assert answers.known.keys() == {"a", "b"} and answers.damaged == 2
    plan = estimate(ITEMS, JUDGE, "films", Endpoint("http://localhost/v1"), cache=path)
    assert plan.damaged == 2 and "2 damaged lines" in str(plan)


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
            with pytest.raises(InputError, match="cannot be written"):
                run(server, cache=place)
        assert not server.requests


def test_answers_that_are_removed_are_paid_for_again(tmp_path):
    with FakeServer(by_text) as server:
        answers = judges._answers("answers.jsonl")
        run(server)
        assert len(answers.known) == 6
        (tmp_path / "answers.jsonl").unlink()
        run(server)
        assert len(server.requests) == 12 and len(kept()) == 6


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
    monkeypatch.setattr(judges.os, "fsync", lambda handle: fsync(handle) or synced.append(len(kept())))

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
        {"scale": Scale(0, 100)},
        *(
            {"sampling": s}
            for s in (Sampling(0.5), Sampling(seed=1), Sampling(max_tokens=9), Sampling(seed=None))
        ),
        {"sampling": Sampling(limit_name="max_completion_tokens")},
    ]
    same = [
        {"items": {"b": "Film number 1"}},
        {"judge": Judge("renamed", "m", JUDGE.persona, "goal")},
        {"sampling": Sampling(temperature=np.float64(0), seed=np.int64(0))},
        {"sampling": Sampling(temperature=0)},
        {"concurrency": 1, "latency": 9, "prices": (1, 1)},
    ]
    with FakeServer(by_text) as server:
        for options in [base, *others]:
            run(server, **(base | options))
        assert len(server.requests) == 1 + len(others)
        for options in same:
            run(server, **(base | options))
        assert len(server.requests) == 1 + len(others)
        deeper = type("S", (), {"url": server.url + "/other"})
        run(deeper, **base)
        assert len(server.requests) == 2 + len(others)


def test_threads_never_pay_twice_for_one_request():
    with FakeServer(lambda n, p: Reply(by_text(n, p), delay=0.02)) as server:
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(run, server, judge=PAIR, concurrency=3) for _ in range(4)]
        assert all(found.result().missing.empty for found in runs)
    assert len(server.requests) == 12 == len(kept())


def test_a_thread_that_waited_in_vain_asks_itself():
    with FakeServer(lambda n, p: Reply(b"", 401, delay=0.1) if n == 0 else rating(3)) as server:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(run, server, {"a": "A"})
            while not server.requests:
                time.sleep(0.002)
            second = pool.submit(run, server, {"a": "A"})
        assert second.result().scores.loc["a", "plain"] == 0.3 and isinstance(
            first.exception(), EndpointError
        )


def test_two_processes_share_a_file_without_harm():
    write_items(6)
    with FakeServer(lambda n, p: Reply(by_text(n, p), delay=0.01)) as server:
        processes = [start(server, f"scores{i}.csv") for i in range(2)]
        outputs = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
        assert not shows_key(str(outputs))
        sent = len(server.requests)
        assert 36 <= sent <= 72 and len(kept()) == sent  # every answer in one whole line
    pd.testing.assert_frame_equal(load_scores("scores0.csv"), load_scores("scores1.csv"))


def test_processes_that_write_at_the_same_time_do_not_mix_their_lines(tmp_path):
    code = (
        "import sys; from emergent_alignment import judges\n"
        "answers = judges._Answers(judges.Path('answers.jsonl'))\n"
        "for n in range(40): answers.append(b'{\"key\": \"' + (sys.argv[1] + str(n)).encode() * 3000 + b'\"}\\n')"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "xy"]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(answer["key"] for answer in kept()) == sorted(
        f"{c}{n}" * 3000 for c in "xy" for n in range(40)
    )


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "header"),
        ("item\na\n", "header"),
        ("Item,j\na,1\n", "header"),
        ("item,j\n", "there must be items"),
        ("item,j\na,1.01\n", r"line 2 .* column 'j': '1.01' is not a number in \[0, 1\]"),
        ("item,j\na,-0.1\n", "'-0.1' is not"),
        ("item,j\na,nan\n", "'nan' is not"),
        ("item,j\na,inf\n", "'inf' is not"),
        ("item,j\na,NA\n", "'NA' is not"),
        ("item,j\na,True\n", "'True' is not"),
        ("item,j\na,1_0\n", "'1_0' is not"),
        ("item,j\na,٠\n", "is not a number"),
        ("item,j\na,0.5,\n", "line 2 of .* has 3 values, the header 2"),
        ("item,j\na\n", "has 1 values"),
        ("item,j,j\na,1,1\n", "different names; 'j'"),
        ("item,j,\na,1,1\n", "an empty name"),
        ("item,j\na,1\na,0\n", "different names; 'a'"),
        ("item,j\n,1\n", "an empty name"),
        ('item,j\n"a,1\n', "cannot be read"),
    ],
)
def test_a_table_of_something_else_is_refused(content, message, tmp_path):
    (tmp_path / "scores.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_scores("scores.csv")


def test_a_table_may_come_from_a_spreadsheet(tmp_path):
    (tmp_path / "scores.csv").write_bytes("\ufeffitem,j,k\r\nä,1,\r\n\r\nb, 0.5 ,1e-3\r\n".encode())
    expected = pd.DataFrame({"j": [1, 0.5], "k": [np.nan, 0.001]}, index=pd.Index(["ä", "b"], name="item"))
    pd.testing.assert_frame_equal(
        load_scores("scores.csv"), expected, check_index_type=False, check_column_type=False
    )
    (tmp_path / "scores.csv").write_bytes(b"\xff")
    for path in ("scores.csv", "nowhere.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            load_scores(path)


def test_utilities_are_what_the_experiments_take():
    rng = np.random.default_rng(3)
    table = rng.random((30, 5))
    table[[4, 9], [0, 2]] = np.nan
    scores = pd.DataFrame(
        table, index=pd.Index([f"i{n}" for n in range(30)], name="item"), columns=list("abcde")
    )
    values, dropped = utilities(scores)
    assert dropped == ("i4", "i9") and values.shape == (5, 28)
    np.testing.assert_array_equal(values, np.delete(table, [4, 9], axis=0).T)
    np.testing.assert_array_equal(values, utilities(scores.reset_index())[0])
    curves = alignment_curves(values, [1, 2], draws=2)
    assert set(curves["k"]) == {1, 2} and np.isfinite(curves["test"]).all()


def test_utilities_of_a_table_that_cannot_be_used_are_refused():
    scores = pd.DataFrame({"a": [0.1, np.nan], "b": [np.nan, np.nan]}, index=["x", "y"])
    with pytest.raises(InputError, match="Leave out judge 'b' first, which has 2 of 2 missing"):
        utilities(scores)
    for values, message in (([2.0, 0], "'a' gives 'x' 2"), (["u", "v"], "must be a number")):
        with pytest.raises(InputError, match=message):
            utilities(pd.DataFrame({"a": values}, index=["x", "y"]))
    with pytest.raises(InputError, match="must be a score table"):
        utilities(np.ones((2, 2)))


# The command line --------------------------------------------------------------------------------------------


def command(server, *more):
    write_items(3)
    base = "--items items.csv --domain films --model m --kinds plain goal --out scores.csv --prices 1 2"
    return [*base.split(), "--base-url", server.url, "--key-variable", VARIABLE, *more]


def test_the_command_writes_scores_and_reasons(capfd, tmp_path):
    with FakeServer(in_turn(chat("seven"))) as server:
        assert (
            main(command(server, "--yes", "--concurrency", "1", "--temperature", "none", "--seed", "5")) == 0
        )
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


def test_the_command_asks_after_it_has_shown_the_estimate(capfd, monkeypatch, tmp_path):
    with FakeServer(by_text) as server:
        for answer in ("n", "", "maybe", EOFError):

            def ask(prompt, answer=answer):
                assert (
                    capfd.readouterr().out.startswith("18 calls")
                    and not server.requests
                    and "[y/N]" in prompt
                )
                if answer is EOFError:
                    raise EOFError
                return answer

            monkeypatch.setattr("builtins.input", ask)
            assert main(command(server)) == 1 and "Nothing was sent" in capfd.readouterr().err
        assert not server.requests and not (tmp_path / "scores.csv").exists()
        monkeypatch.setattr("builtins.input", lambda prompt: " Yes ")
        assert main(command(server)) == 0 and len(server.requests) == 18


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--yes", "--max-cost", "0.001"], "may exceed max_cost"),
        (["--yes", "--max-calls", "17"], "18 calls are more than"),
        (["--yes", "--temperature", "hot"], "temperature must be a number or 'none'"),
        (["--yes", "--items", "nowhere.csv"], "cannot be read as a table"),
        (["--yes", "--key-variable", "NOT_SET_AT_ALL"], "name of an environment variable that is set"),
        (["--yes", "--base-url", "localhost"], "url must be"),
    ],
)
def test_the_command_reports_what_stops_it(more, message, capfd, tmp_path):
    with FakeServer(by_text) as server:
        assert main(command(server, *more)) == 1
        assert message in capfd.readouterr().err and not server.requests
    assert not (tmp_path / "scores.csv").exists()


def test_the_command_reports_an_endpoint_that_fails(capfd, tmp_path):
    with FakeServer(always(Reply(error(f"bad key {KEY}"), 401))) as server:
        assert main(command(server, "--yes")) == 1
    assert (
        "wrong, expired or not allowed" in capfd.readouterr().err and not (tmp_path / "scores.csv").exists()
    )


def test_a_key_on_the_command_line_is_refused_and_not_repeated(capfd):
    for words in (["--key", KEY], [f"--api-key={KEY}"], [KEY]):
        with FakeServer(by_text) as server, pytest.raises(SystemExit):
            main(command(server, "--yes", *words))
        output = capfd.readouterr().err
        assert "there is no option" in output or "a value without an option" in output
        assert not server.requests


def test_an_interrupted_command_says_how_to_go_on(monkeypatch, capfd):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(judges, "tqdm", interrupt)
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
    ):
        (tmp_path / "items.csv").write_text(content)
        with pytest.raises(InputError, match=message):
            load_items("items.csv")
