"""Where judges are reached, and how the key stays out of sight."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .._validation import InputError, real_number, whole_number

# No user name, query or fragment: they could carry a secret, and they would be shown and kept with the address.
_ADDRESS = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?((?:/[\w.~%-]*)*)", re.ASCII)
_KEY_FORM = re.compile(r"[!#-\[\]-~]{8,}")  # printable ASCII without space, quotation mark and backslash


class EndpointError(RuntimeError):
    """The endpoint cannot be used, or did not answer in time; the message says what to do. Never shows a key."""


@dataclass(frozen=True)
class Endpoint:
    """A chat-completions endpoint, and how patient to be with it.

    url : base address, such as http://localhost:11434/v1. key_variable : name of the environment variable that
    holds the key; without it no key is sent. timeout : seconds for one attempt, from looking up the host to the
    last byte of the reply. retries : further attempts after status 408, 409, 425, 429 or 5xx, a time-out, a
    dropped connection or a reply that is no answer.

    InputError for an address that cannot be used, a variable that holds no key, or a key that would travel over
    plain http to another machine. No message repeats an argument that might be the key itself.
    """

    url: str
    key_variable: str | None = None
    timeout: float = 60.0
    retries: int = 5

    def __post_init__(self):
        real_number(self.timeout, "timeout", 0.1, 86_400)
        whole_number(self.retries, "retries", 0, 100)
        found = _ADDRESS.fullmatch(self.url.strip()) if isinstance(self.url, str) else None
        if not found or int((found[3] or ":0")[1:]) > 65535:
            raise InputError(
                "url must be the endpoint's base address, such as http://localhost:11434/v1 or https://host/v1, "
                "without user name, query or fragment."
            )
        scheme, host, port, path = found.groups(default="")
        path = path.rstrip("/").removesuffix("/chat/completions")
        object.__setattr__(self, "url", f"{scheme}://{host.lower()}{port}{path}")
        self.key()

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.split("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        # Not x.localhost, which some systems look up elsewhere.
        return re.sub(r":[0-9]+$", "", self.host) in ("localhost", "127.0.0.1", "[::1]")

    def key(self) -> Key:
        """The key as the environment has it now, wrapped at once, because some tracebacks show local variables."""
        if self.key_variable is None:
            return Key("")
        key = Key(os.environ.get(str(self.key_variable), ""))
        if not key.is_usable():
            raise InputError(
                "key_variable must be the name of an environment variable that holds a key: 8 or more characters "
                "of ASCII without spaces or quotation marks. Set it in the shell before Python starts, and never "
                "write the key itself here. If the server needs no key, leave key_variable out."
            )
        if self.url.startswith("http:") and not self.is_local:
            raise InputError(
                f"url: {self.host} is another machine, and over plain http anybody on the way could read the key. "
                "Use https, or name no key_variable if the server needs no key."
            )
        return key


class Key:
    """A key, or none (""), that no repr, traceback or pickle shows. It signs a request when used as its `auth`."""

    __slots__ = ("_value",)

    def __init__(self, value):
        self._value = value.strip()

    def __repr__(self):
        return "[key]"

    def __reduce__(self):
        raise TypeError("a key is not to be stored")

    def __call__(self, request):
        if self._value:
            request.headers["Authorization"] = f"Bearer {self._value}"
        return request

    def is_usable(self):
        return bool(_KEY_FORM.fullmatch(self._value))

    def withhold(self, text):
        """The text, unless 8 characters in a row of the key stand in it (servers like to repeat part of it)."""
        parts = (self._value[i : i + 8] for i in range(len(self._value) - 7))
        return "[withheld: it shows part of the key]" if any(part in text for part in parts) else text
