"""Signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Dict, Optional, Tuple
from urllib.parse import unquote_to_bytes

Headers = Dict[str, str]


def sign(
    method: str,
    target: str,
    headers: Headers,
    body: bytes,
    form: Optional[bytes],
    key: str,
    secret: str,
    now_ms: int,
    nonce: str,
) -> str:
    """Adds the headers of a signature and returns the string that was signed.

    The fields of a form are signed as parameters; any other body by its digest.
    """
    headers["X-Ca-Key"] = key
    headers["X-Ca-Nonce"] = nonce
    headers["X-Ca-Timestamp"] = str(now_ms)
    headers["X-Ca-Signature-Method"] = "HmacSHA256"
    if body and form is None:
        headers["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    signed = ["X-Ca-Key", "X-Ca-Nonce", "X-Ca-Signature-Method", "X-Ca-Timestamp"]
    if headers.get("X-Ca-Stage"):
        signed.append("X-Ca-Stage")
    signed.sort(key=str.lower)
    headers["X-Ca-Signature-Headers"] = ",".join(name.lower() for name in signed)

    lines = [method]
    lines += [headers.get(name, "") for name in ("Accept", "Content-MD5", "Content-Type", "Date")]
    lines += [name.lower() + ":" + headers[name] for name in signed]
    text = "\n".join(lines).encode() + b"\n" + canonical(target.encode(), form or b"")
    mac = hmac.new(secret.encode(), text, hashlib.sha256)
    headers["X-Ca-Signature"] = base64.b64encode(mac.digest()).decode()
    return text.decode("utf-8", "replace")


def canonical(target: bytes, form: bytes) -> bytes:
    """The path with all parameters, sorted by their bytes.

    Of a name that comes more than once the first value counts, and the form goes before
    the query.
    """
    path, _, query = target.partition(b"?")
    values: Dict[bytes, bytes] = {}
    for text in (form, query):
        for piece in text.split(b"&"):
            name, value = split(piece)
            if name and name not in values:
                values[name] = value
    pieces = [name + b"=" + value if value else name for name, value in sorted(values.items())]
    return path + (b"?" + b"&".join(pieces) if pieces else b"")


def split(piece: bytes) -> Tuple[bytes, bytes]:
    name, _, value = piece.partition(b"=")
    return decode(name), decode(value)


def decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
