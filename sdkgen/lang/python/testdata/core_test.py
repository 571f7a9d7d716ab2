"""Tests of the core: run by the Go test beside it, with the core on the path as _core."""

import email.utils
import http.server
import json
import os
import threading
import time
import unittest
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from _core import Call, Core, Error, Options, decode as d
from _core.call import dump
from _core.sign import canonical


class Canonical(unittest.TestCase):
    """SDK-03: the strings that the gateway's own vectors have."""

    def test_vectors(self):
        seen = 0
        with open(os.environ["VECTORS"], encoding="utf-8") as lines:
            for line in lines:
                v = json.loads(line)
                want, body = v.get("canonical_string_to_sign"), v["request"]["body_utf8"]
                if want is None or body is None:
                    continue
                headers = {name.lower(): value for name, value in v["request"]["headers"]}
                kind = headers.get("content-type", "").lower()
                form = body if kind.startswith("application/x-www-form-urlencoded") else ""
                got = canonical(v["request"]["target"].encode(), form.encode()).decode()
                self.assertTrue(want.endswith("\n" + got), v["id"])
                seen += 1
        self.assertGreater(seen, 100)


class Served(unittest.TestCase):
    def serve(self, answer):
        test = self
        test.calls = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                test.calls += 1
                answer(self)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        core = Core(Options(app_key="1", app_secret="2"), "test")
        core.sleep = lambda seconds: None
        return core, Call("GET", "/", "http://127.0.0.1:%d" % server.server_port)

    def refuse(self, code, **headers):
        def answer(handler):
            handler.send_response_only(503)
            handler.send_header("X-Ca-Error-Code", code)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return self.serve(answer)

    def test_clock_is_corrected(self):
        ahead = time.time() + 3 * 3600

        def answer(handler):
            late = abs(ahead - int(handler.headers["X-Ca-Timestamp"]) / 1000) > 60
            handler.send_response_only(403 if late else 200)
            handler.send_header("Date", email.utils.formatdate(ahead, usegmt=True))
            if late:
                handler.send_header("X-Ca-Error-Code", "S403TE")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        core, call = self.serve(answer)
        for want in (2, 3):
            core.send(call, d.read_any)
            self.assertEqual(self.calls, want)

    def test_retry_after(self):
        for after, want in (("1", 3), ("20", 3), ("21", 1), ("-1", 1), ("soon", 3)):
            core, call = self.refuse("T429PA", Retry_After=after)
            with self.assertRaises(Error) as caught:
                core.send(call, d.read_any)
            self.assertEqual((self.calls, caught.exception.kind), (want, "throttled"), after)

    def test_dead_service_is_left_alone(self):
        core, call = self.refuse("X503BZ")
        for _ in range(30):
            with self.assertRaises(Error):
                core.send(call, d.read_any)
        self.assertEqual(self.calls, 40)

    def test_timeout_is_not_repeated(self):
        release = threading.Event()
        core, call = self.serve(lambda handler: release.wait(30))
        self.addCleanup(release.set)
        with self.assertRaises(Error) as caught:
            core.send(call, d.read_any, timeout=0.1)
        self.assertEqual((self.calls, caught.exception.kind), (1, "transport"))


class Small(unittest.TestCase):
    def test_secrets_are_not_printed(self):
        o = Options(app_key="1", app_secret="hidden", app_code="hidden")
        self.assertNotIn("hidden", repr(o) + str(o))

    def test_app_code_needs_encryption(self):
        core = Core(Options(app_code="code"), "test")
        with self.assertRaisesRegex(ValueError, "without encryption"):
            core.send(Call("GET", "/", "http://group.example.com"), d.read_any)

    def test_hint_names_the_line(self):
        e = Error("auth", "Invalid Signature, Server StringToSign:`GET#a##b##/x`", code="A403IS")
        e.explain("GET\na\n\nc\n\n/x")
        self.assertEqual(e.hint, "Content-Type: sent 'c', the gateway saw 'b'")


@dataclass
class Inner:
    city: Optional[str] = field(default=None, metadata={"wire": "城市", "read": d.read_str})
    extra: Dict[str, Any] = field(default_factory=dict)


@dataclass
class Outer:
    text: Optional[str] = field(default=None, metadata={"wire": "text", "read": d.read_str})
    whole: Optional[int] = field(default=None, metadata={"wire": "whole", "read": d.read_int})
    flag: Optional[bool] = field(default=None, metadata={"wire": "flag", "read": d.read_bool})
    kids: Optional[List[Inner]] = field(
        default=None,
        metadata={"wire": "kids", "read": d.read_list(d.read_object(lambda: Inner))},
    )
    extra: Dict[str, Any] = field(default_factory=dict)


class Decode(unittest.TestCase):
    def check(self, text, want, *issues):
        got = []
        self.assertEqual(d.read_body(text.encode(), d.read_object(lambda: Outer), got), want)
        self.assertEqual(got, list(issues))

    def test_patience(self):
        self.check('{"text":1.5,"whole":"7","flag":"1"}', Outer("1.5", 7, True))
        self.check('{"text":true,"whole":3.0,"flag":0}', Outer("true", 3, False))
        self.check('{"kids":"","whole":""}', Outer())
        self.check('{"kids":[{"城市":"杭州"},{"x":1}]}', Outer(kids=[Inner("杭州"), Inner(extra={"x": 1})]))
        self.check('{"whole":1.5}', Outer(), "$.whole: a whole number expected, got float")
        self.check('{"flag":"maybe"}', Outer(), "$.flag: true or false expected, got str")
        self.check("[1]", None, "$: an object expected, got list")
        self.check("", None)
        got = []
        self.assertEqual(d.read_body(b"<html>", d.read_any, got), "<html>")
        self.assertEqual(len(got), 1)

    def test_encode_leaves_out_what_is_not_set(self):
        self.assertEqual(dump({"a": Outer(text="<中>", kids=[])}), '{"a":{"text":"<中>","kids":[]}}')


if __name__ == "__main__":
    unittest.main()
