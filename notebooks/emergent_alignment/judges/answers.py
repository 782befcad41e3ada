"""The file of answers: every answer that was paid for, on the disk as soon as it is there."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

from .._validation import InputError

try:
    import fcntl
except ImportError:  # Windows has no such lock: there, no two runs may use one file at the same time
    fcntl = None

_START = b'{"key": "'


class Answer(NamedTuple):
    """What is kept of an answer: its text, why it cannot hold a rating ("" if it can), and which model gave it."""

    text: str = ""
    problem: str = ""
    model: str = ""


class AnswerFile:
    """A file of answers, one JSON object in a line, only ever appended to. `known` holds them by their key.

    A line that was cut off when a run was killed is closed by a line break before the next one is written, and
    passed over when the file is read.
    """

    def __init__(self, path):
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"cache must be the path of the file of answers; got {type(path).__name__}.")
        self.path, self.known, self._writing = Path(path).absolute(), {}, threading.Lock()
        self._read()

    @contextlib.contextmanager
    def held(self):
        """Keep other runs from the file, and make sure that it can be written before anything is paid for."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as lock:
            try:
                if fcntl:  # locked until it is closed, or the process dies
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"cache: {self.path} is in use by another run. Name another file.") from None
            self._append(b"")
            self._read()  # another run may have added to it
            yield

    def keep(self, key: str, answer: Answer):
        """Write an answer, and wait until it is on the disk."""
        self._append(json.dumps({"key": key, **answer._asdict()}).encode() + b"\n")
        self.known[key] = answer

    def _append(self, line):
        with self._writing, open(self.path, "a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _read(self):
        lines = (self.path.read_bytes() if self.path.exists() else b"").split(b"\n")
        if not (lines[0].startswith(_START) or _START.startswith(lines[0])):
            raise InputError(f"cache: {self.path} is not a file of answers. Name another one.")
        answers = [_answer(line) for line in lines[:-1]]  # after the last line break: nothing, or a torn line
        self.known.update(filter(None, answers))
        if lost := answers.count(None):
            warnings.warn(
                f"{self.path}: {lost} damaged lines are passed over and paid for again.", stacklevel=3
            )


def _answer(line):
    """(key, answer) from a line, or None if it is damaged."""
    try:
        record = json.loads(line)
        values = [record[name] for name in ("key", *Answer._fields)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (values[0], Answer(*values[1:])) if all(isinstance(value, str) for value in values) else None
