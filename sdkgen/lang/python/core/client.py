"""The way of a call."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import os
import random
import socket
import ssl
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Generic, List, Mapping, Optional, Tuple, TypeVar
from urllib.parse import urlsplit

from .call import Call
from .decode import read_body
from .errors import Error, kind_of
from .sign import sign

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0
MAX_ANSWER = 64 << 20
UNREACHED = ("X503BZ", "D503BB", "D503CB", "D504CO", "D504RE")


@dataclass
class Options:
    """How to call. What is not set comes from the environment."""

    app_key: str = ""  # SOUK_APP_KEY
    app_secret: str = field(default="", repr=False)  # SOUK_APP_SECRET
    app_code: str = field(default="", repr=False)  # SOUK_APP_CODE; used if there is no AppKey
    base_url: str = ""  # SOUK_BASE_URL; else the address of each product
    host: str = ""  # SOUK_HOST; else the domain of each product
    stage: str = ""  # RELEASE, PRE or TEST
    timeout: float = 30.0  # seconds, for a call with all its tries
    max_retries: int = 2
    allow_insecure: bool = False  # an AppCode may travel without encryption
    user_agent: str = ""


@dataclass
class Answer(Generic[T]):
    """What came back: the value, and everything around it."""

    data: T
    status: int
    request_id: str
    headers: Mapping[str, str]
    raw: bytes
    issues: List[str]  # places where the body was not as described


class Reply:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, signed: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.signed = signed


class NotSent(Exception):
    """There was no connection, so nothing was sent."""


class Core:
    """Sends calls. It may be used from many threads."""

    def __init__(self, options: Optional[Options], agent: str) -> None:
        o = options or Options()
        self.key, self.code = o.app_key, o.app_code
        if not self.key and not self.code:
            self.key = os.environ.get("SOUK_APP_KEY", "")
            self.code = os.environ.get("SOUK_APP_CODE", "")
        self.secret = o.app_secret or os.environ.get("SOUK_APP_SECRET", "")
        self.base_url = o.base_url or os.environ.get("SOUK_BASE_URL", "")
        self.host = o.host or os.environ.get("SOUK_HOST", "")
        if not self.key and not self.code:
            raise ValueError(
                "no credentials: set SOUK_APP_KEY and SOUK_APP_SECRET, or SOUK_APP_CODE"
            )
        if self.key and not self.secret:
            raise ValueError("there is an AppKey but no AppSecret: set SOUK_APP_SECRET")
        self.options = o
        self.agent = (o.user_agent + " " + agent).strip()
        self.skew = 0.0  # of our clock against the gateway's, in seconds
        self.spent = 0.0  # retries lately; more than nine are too many
        self.lock = threading.Lock()  # guards skew and spent
        self.sleep = time.sleep

    def send(self, call: Call, reader: Any, timeout: Optional[float] = None) -> Answer[Any]:
        """Makes a call and reads the answer."""
        reply = self.reply(call, self.options.timeout if timeout is None else timeout)
        issues: List[str] = []
        data = read_body(reply.body, reader, issues)
        request_id = reply.headers.get("X-Ca-Request-Id", "")
        return Answer(data, reply.status, request_id, reply.headers, reply.body, issues)

    def reply(self, call: Call, timeout: float) -> Reply:
        """Sends a call, again if that is safe: never when it may have reached the seller."""
        url, host = self.address(call)
        body, content_type = call.encoded()
        deadline = time.monotonic() + timeout
        attempt, skewed = 0, False
        while True:
            attempt += 1
            again, pause = False, backoff(attempt)
            try:
                reply = self.once(call, url, host, body, content_type, deadline)
            except NotSent as e:
                failure = Error("transport", str(e), attempts=attempt)
                again = True
            except (OSError, http.client.HTTPException) as e:
                message = str(e) or type(e).__name__
                raise Error("transport", message, attempts=attempt) from e
            else:
                if reply.status < 300:
                    with self.lock:
                        self.spent = max(0.0, self.spent - 0.1)
                    return reply
                failure = failed(reply, attempt)
                again, pause = harmless(failure, attempt)
                if failure.code == "S403TE" and not skewed:
                    again, pause, skewed = self.correct(reply), 0.0, True
            with self.lock:
                again = again and attempt <= self.options.max_retries and self.spent <= 9
                if again:
                    self.spent += 1
            if not again or time.monotonic() + pause >= deadline:
                raise failure
            self.sleep(pause)

    def correct(self, reply: Reply) -> bool:
        """Takes the gateway's clock for ours."""
        try:
            server = email.utils.parsedate_to_datetime(reply.headers.get("Date", ""))
        except (TypeError, ValueError, IndexError):
            return False
        with self.lock:
            self.skew = server.timestamp() - time.time()
        return True

    def address(self, call: Call) -> Tuple[Any, str]:
        """Where to dial, and under which name."""
        text, host = call.base_url, call.host
        if self.base_url:
            text = self.base_url
            host = host or urlsplit(call.base_url).netloc
        url = urlsplit(text.rstrip("/"))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("base URL %r is not of the form https://host" % text)
        safe = url.scheme == "https" or self.options.allow_insecure or loopback(url.hostname)
        if not self.key and not safe:
            raise ValueError(
                "an AppCode is not sent without encryption: use https, a signature, or allow_insecure"
            )
        return url, self.host or host or url.netloc

    def once(
        self,
        call: Call,
        url: Any,
        host: str,
        body: Optional[bytes],
        content_type: str,
        deadline: float,
    ) -> Reply:
        target = url.path.rstrip("/") + call.target()
        headers = {"Host": host, "Accept": call.accept, "User-Agent": self.agent}
        for name, value in call.header_values:
            headers[name] = value
        if body is not None:
            headers["Content-Type"] = content_type
            headers["Content-Length"] = str(len(body))
        if self.options.stage:
            headers["X-Ca-Stage"] = self.options.stage
        signed = ""
        if self.key:
            form = body if call.kind == "form" else None
            now = int((time.time() + self.skew) * 1000)
            signed = sign(
                call.method, target, headers, body or b"", form,
                self.key, self.secret, now, str(uuid.uuid4()),
            )  # fmt: skip
        else:
            headers["Authorization"] = "APPCODE " + self.code
        connection = connect(url, deadline)
        try:
            connection.putrequest(call.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value.encode("utf-8"))
            connection.endheaders(body or None)
            if connection.sock is not None:
                connection.sock.settimeout(left(deadline))
            response = connection.getresponse()
            data = bytearray()
            while True:
                if connection.sock is not None:
                    connection.sock.settimeout(left(deadline))
                part = response.read(1 << 16)
                if not part:
                    break
                data += part
                if len(data) > MAX_ANSWER:
                    raise OSError("the answer has more than %d bytes" % MAX_ANSWER)
            return Reply(response.status, response.headers, bytes(data), signed)
        finally:
            connection.close()


def left(deadline: float) -> float:
    rest = deadline - time.monotonic()
    if rest <= 0:
        raise TimeoutError("the time for the call is over")
    return rest


def connect(url: Any, deadline: float) -> http.client.HTTPConnection:
    """Opens a connection, through a proxy if the environment names one."""
    wait = min(CONNECT_TIMEOUT, left(deadline))
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    try:
        connection: http.client.HTTPConnection
        if secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(url.hostname, port, timeout=wait, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname, port, timeout=wait)
        proxy = urlsplit(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
        if secure and proxy.hostname and not bypassed(url.hostname):
            connection.host, connection.port = proxy.hostname, proxy.port or 80
            connection.set_tunnel(url.hostname, port)
        connection.connect()
    except (OSError, http.client.HTTPException) as e:
        raise NotSent(str(e) or type(e).__name__) from e
    if connection.sock is not None:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def bypassed(host: str) -> bool:
    names = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return any(n.strip() and (n.strip() == "*" or host.endswith(n.strip().lstrip("."))) for n in names.split(","))


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def failed(reply: Reply, attempt: int) -> Error:
    code = reply.headers.get("X-Ca-Error-Code", "")
    message = reply.headers.get("X-Ca-Error-Message", "")
    try:  # http.client reads headers as Latin-1
        message = message.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    e = Error(
        kind_of(code),
        message or http.client.responses.get(reply.status, ""),
        status=reply.status,
        code=code,
        request_id=reply.headers.get("X-Ca-Request-Id", ""),
        attempts=attempt,
        headers=reply.headers,
        raw=reply.body,
    )
    e.explain(reply.signed)
    return e


def harmless(e: Error, attempt: int) -> Tuple[bool, float]:
    """Whether a call was turned away before it could reach the seller, so that trying
    again cannot be billed twice; and how long to wait."""
    if e.code in UNREACHED:
        return True, backoff(attempt)
    if not e.code.startswith("T429"):
        return False, 0.0
    try:
        seconds = int(e.headers.get("Retry-After", ""))
    except ValueError:
        return True, backoff(attempt)
    return 0 <= seconds <= 20, float(seconds)


def backoff(attempt: int) -> float:
    """A random time up to 0.25 s, 0.5 s, 1 s and so on, 4 s at most."""
    return random.uniform(0, min(4.0, 0.25 * 2 ** min(attempt - 1, 4)))
