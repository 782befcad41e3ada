"""Asking the endpoint: one attempt, what its reply is taken to say, and when to try again."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import queue
import random
import ssl
import threading
import time

import requests

from .answers import Answer
from .endpoint import EndpointError, Key
from .ratings import short

FIRST_WAIT = 1.0  # seconds before the second attempt; doubled each time
LONGEST_WAIT = 120.0  # seconds; a server that asks for more ends the run
PASSING = (200, 408, 409, 425, 429)  # besides 5xx; 200 with something else than an answer, that is
LARGEST_BODY = 1_000_000  # bytes of one reply that are read; a rating needs a few hundred
LONGEST_TEXT = 2_000  # characters of an answer that are kept; `parse_rating` takes none as long as this
ADVICE = {
    200: " without an answer",
    401: ", it wants a key, or does not accept the one in key_variable for this model",
    404: ", there is no such model, or the base address is wrong (it often ends in /v1)",
} | dict.fromkeys(range(300, 400), ", a redirect: not followed, it leads to an address you did not name")
_OF_ANOTHER_KIND = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Client:
    """Sends requests to an endpoint. `stop` ends the waiting in all threads that use it."""

    def __init__(self, endpoint):
        self.endpoint, self.key, self.stop = endpoint, endpoint.key(), threading.Event()

    def ask(self, payload: dict) -> Answer | None:
        """The answer, or None if stopped. EndpointError after the last attempt, or if waiting is no use."""
        pause = 0.0
        for attempt in range(self.endpoint.retries + 1):
            if self.stop.wait(pause):
                return None
            answer, problem, wait = self._attempt(payload)
            if answer:
                return answer
            if wait > LONGEST_WAIT:
                break
            pause = wait + min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1)
        raise EndpointError(
            f"{self.endpoint.host}: {problem} (attempt {attempt + 1}). Answers so far are kept."
        )

    def _attempt(self, payload):
        """What `_outcome` says, but within the time-out."""
        # No time-out of `requests` bounds the whole of an attempt: neither looking up the host nor a reply that
        # trickles. A thread that is given up harms nobody, and ends with its connection.
        outcomes = queue.SimpleQueue()
        threading.Thread(target=lambda: outcomes.put(self._outcome(payload)), daemon=True).start()
        try:
            return outcomes.get(timeout=self.endpoint.timeout)
        except queue.Empty:
            return None, f"no answer within {self.endpoint.timeout:g} seconds", 0

    def _outcome(self, payload):
        """(answer, "", 0), or (None, what is wrong, seconds to wait; infinitely many if that is no use)."""
        try:
            return self._reading(*self._post(payload))
        except Exception as error:  # noqa: BLE001 (whatever it is: the key stands in the request that it holds)
            causes = list(_causes(error))
            lasts = any(isinstance(e, (ConnectionRefusedError, ssl.SSLCertVerificationError)) for e in causes)
            words = [type(error).__name__, *(e.strerror for e in causes if getattr(e, "strerror", None))]
            return None, f"it failed: {words[-1]}", math.inf if lasts else 0

    def _reading(self, status, body, wait):
        if status == 200 and (answer := read_answer(body, self.key)):
            return answer, "", 0
        said, code = read_error(body, self.key)
        if code in ("content_filter", "content_policy_violation"):
            return Answer(problem="the endpoint's content filter refused the request"), "", 0
        problem = f"status {status}{ADVICE.get(status, '')}"
        problem += said if status not in (401, 403) else ""  # there, servers like to repeat part of the key
        if wait > LONGEST_WAIT:
            problem += f"; it asks to wait {wait:.0f} seconds"
        passes = (status in PASSING or status >= 500) and code != "insufficient_quota"
        return None, problem, wait if passes else math.inf

    def _post(self, payload):
        """Status, body and seconds that the server asks to wait."""
        # A session for one request: it has no cookies, and no connection that the server has meanwhile closed.
        with _Session() as session:
            session.trust_env = not self.endpoint.is_local  # on this machine no proxy may come between
            with session.post(
                f"{self.endpoint.url}/chat/completions",
                json=payload,
                auth=self.key,  # with or without a key in it: this keeps `requests` from .netrc
                timeout=self.endpoint.timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                body = b""
                for piece in response.iter_content(65536):
                    body += piece
                    if len(body) > LARGEST_BODY:
                        break
                return response.status_code, body, _seconds(response.headers.get("Retry-After", ""))


class _Session(requests.Session):
    """A session that does not look where a redirect leads: `requests` would first read the whole of its body."""

    def get_redirect_target(self, resp):
        return None


def _causes(error):
    if error is not None:
        yield error
        yield from _causes(error.__cause__ or error.__context__)


def _seconds(retry_after):
    """What a Retry-After header asks for, as a number or a date; 0 if it cannot be read."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


def read_answer(body: bytes, key: Key) -> Answer | None:
    """The answer in a reply with status 200, or None if the reply is not in the protocol or tells of an error."""
    if len(body) > LARGEST_BODY:
        return Answer(problem=f"the reply is longer than {LARGEST_BODY:,} bytes")
    try:
        reply = json.loads(body)
        choices = reply["choices"]
        count, choice = len(choices), choices[0] if choices else {"message": {}}
        message, reason = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except _OF_ANOTHER_KIND:
        return None
    if reason == "error":  # so do services that pass requests on say that it failed further on
        return None
    problem = ""
    if count != 1 or reason != "stop" or refusal or not isinstance(text, str):
        problem = f"no finished text: {count} choices, finish_reason {short(str(reason))}"
        problem += f", refusal {short(str(refusal))}" if refusal else ""
    kept = (value if isinstance(value, str) else "" for value in (text, problem, reply.get("model")))
    return Answer(*(key.withhold(value)[:LONGEST_TEXT] for value in kept))


def read_error(body: bytes, key: Key) -> tuple[str, object]:
    """What a reply says of an error: ': ...' (or nothing), and a code (or None)."""
    try:
        error = json.loads(body)["error"]
        error = {"message": error} if isinstance(error, str) else error
        message, code = error.get("message"), error.get("code")
    except _OF_ANOTHER_KIND:
        return "", None
    return f": {short(key.withhold(message), 300)}" if isinstance(message, str) else "", code
