"""A server on this machine that speaks the chat-completions protocol, and breaks it as it is told to."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chat(text, finish_reason="stop", **message):
    """The body of a well-formed reply."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "fake-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 6, "total_tokens": 36},
    }


def error(message, code=None):
    return {"error": {"message": message, "type": "error", "code": code}}


class Reply:
    """status, body (bytes, or anything JSON), headers; and how badly it is delivered.

    delay : seconds before anything is sent. drip : seconds between the bytes of the body, or of the head if
    slow_head. cut : bytes of the body after which the connection is closed, though Content-Length promises all.
    """

    def __init__(self, body=None, status=200, headers=(), delay=0.0, drip=0.0, slow_head=False, cut=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": len(body), **dict(headers)}
        lines = [f"HTTP/1.0 {status} told", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        head, body = "\r\n".join(lines).encode(), body[:cut]
        self.fast, self.slow = (b"", head) if slow_head else (head, body) if drip else (head + body, b"")
        self.delay, self.drip = delay, drip


class FakeServer:
    """`reply(number, payload)` is called for each request (number 0, 1, ...) and gives a Reply or a JSON body."""

    def __init__(self, reply):
        self.reply, self.lock = reply, threading.Lock()
        self.requests = []  # (path, headers, payload)
        self.now = self.most = 0  # requests under way, and the largest number of them at any time
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                with contextlib.suppress(ConnectionError):
                    server._answer(self)

            do_GET = do_POST  # what a client makes of a POST when it follows a 302

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def _answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        payload = json.loads(body) if body else None
        with self.lock:
            number = len(self.requests)
            self.requests.append((handler.path, dict(handler.headers), payload))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            reply = self.reply(number, payload)
            reply = reply if isinstance(reply, Reply) else Reply(reply)
            time.sleep(reply.delay)
        finally:
            with self.lock:
                self.now -= 1
        handler.wfile.write(reply.fast)
        for byte in reply.slow:
            handler.wfile.write(bytes([byte]))
            time.sleep(reply.drip)
