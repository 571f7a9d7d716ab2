"""A call before it is sent."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import quote


@dataclass
class File:
    """A file to send."""

    name: str
    data: bytes
    type: str = "application/octet-stream"


def escape(text: str) -> str:
    """Leaves only what is unreserved everywhere."""
    return quote(text, safe="-._~")


def tree(value: Any) -> Any:
    """A value as JSON has it. What is not set is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        out: Dict[str, Any] = {}
        for f in fields(value):
            item = getattr(value, f.name)
            if "wire" in f.metadata and item is not None:
                out[f.metadata["wire"]] = tree(item)
        return out
    if isinstance(value, (list, tuple)):
        return [tree(item) for item in value]
    if isinstance(value, dict):
        return {str(name): tree(item) for name, item in value.items()}
    return value


def dump(value: Any) -> str:
    return json.dumps(tree(value), ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> str:
    """A value as it stands in a path, a query, a header or a form.

    A list is one value with commas: of a name that comes twice, a signature covers only
    the first.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)) and all(isinstance(v, (str, int, float)) for v in value):
        return ",".join(plain(v) for v in value)
    return dump(value)


@dataclass
class Call:
    """A call before it is sent. kind is "", form, multipart, json, value or bytes."""

    method: str
    path: str
    base_url: str
    host: str = ""
    kind: str = ""
    content_type: str = ""
    accept: str = "application/json"
    path_values: Dict[str, str] = field(default_factory=dict)
    query_values: List[Tuple[str, str]] = field(default_factory=list)
    header_values: List[Tuple[str, str]] = field(default_factory=list)
    body_fields: List[Tuple[str, Any]] = field(default_factory=list)
    value: Any = None

    def in_path(self, name: str, value: Any) -> None:
        self.path_values[name] = plain(value)

    def query(self, name: str, value: Any) -> None:
        if value is not None:
            self.query_values.append((name, plain(value)))

    def header(self, name: str, value: Any) -> None:
        if value is not None:
            line = plain(value).replace("\r", " ").replace("\n", " ").strip()
            self.header_values.append((name, line))

    def field(self, name: str, value: Any) -> None:
        if value is not None:
            self.body_fields.append((name, value))

    def body(self, value: Any) -> None:
        self.value = value

    def target(self) -> str:
        """The path and the query as they go over the wire."""

        def fill(match: "re.Match[str]") -> str:
            value = self.path_values.get(match.group(1), "")
            if match.group(1) == "*":
                return quote(value, safe="/-._~!$&'()*+,;=:@%")
            return escape(value)

        parts = re.split(r"(\{[^{}]*\})", self.path)
        out = ""
        for part in parts:
            if part.startswith("{") and part.endswith("}"):
                out += re.sub(r"\{([^{}]*)\}", fill, part)
            else:
                out += quote(part, safe="/-._~!$&'()*+,;=:@%")
        if self.query_values:
            out += "?" + "&".join(escape(n) + "=" + escape(v) for n, v in self.query_values)
        return out

    def encoded(self) -> Tuple[Optional[bytes], str]:
        """The body's bytes and their content type; None if there is no body."""
        if self.kind == "form":
            text = "&".join(escape(n) + "=" + escape(plain(v)) for n, v in self.body_fields)
            return text.encode(), self.content_type
        if self.kind == "multipart":
            return self.multipart()
        if self.kind == "json":
            return dump(dict(self.body_fields)).encode(), self.content_type
        if self.kind == "value" and self.value is not None:
            return dump(self.value).encode(), self.content_type
        if self.kind == "bytes" and self.value is not None:
            data = self.value.encode() if isinstance(self.value, str) else bytes(self.value)
            return data, self.content_type
        return None, ""

    def multipart(self) -> Tuple[bytes, str]:
        boundary = uuid.uuid4().hex
        out = b""
        for name, value in self.body_fields:
            out += b"--" + boundary.encode() + b'\r\nContent-Disposition: form-data; name="'
            out += quoted(name) + b'"'
            if isinstance(value, File):
                out += b'; filename="' + quoted(value.name) + b'"\r\nContent-Type: '
                out += quoted(value.type) + b"\r\n\r\n" + value.data
            else:
                out += b"\r\n\r\n" + plain(value).encode()
            out += b"\r\n"
        out += b"--" + boundary.encode() + b"--\r\n"
        return out, "multipart/form-data; boundary=" + boundary


def quoted(text: str) -> bytes:
    for char, code in (("\\", "\\\\"), ('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, code)
    return text.encode()
