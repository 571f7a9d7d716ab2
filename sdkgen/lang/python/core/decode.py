"""Reading with patience: a number that came as text, a text that came as a number, a
field that is missing. The call is paid for, so nothing is thrown away: what does not fit
is left unset and told."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Callable, List

Reader = Callable[[Any, str, List[str]], Any]

MAX_ISSUES = 20


def issue(issues: List[str], path: str, want: str, got: Any) -> None:
    if len(issues) < MAX_ISSUES:
        issues.append("%s: %s expected, got %s" % (path, want, type(got).__name__))


def read_any(value: Any, path: str, issues: List[str]) -> Any:
    return value


def read_str(value: Any, path: str, issues: List[str]) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    issue(issues, path, "a text", value)
    return json.dumps(value, ensure_ascii=False)


def read_int(value: Any, path: str, issues: List[str]) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if value is None or isinstance(value, str) and not value.strip():
        return None
    try:
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                value = float(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    except ValueError:
        pass
    issue(issues, path, "a whole number", value)
    return None


def read_float(value: Any, path: str, issues: List[str]) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if value is None or isinstance(value, str) and not value.strip():
        return None
    try:
        if isinstance(value, str):
            return float(value)
    except ValueError:
        pass
    issue(issues, path, "a number", value)
    return None


def read_bool(value: Any, path: str, issues: List[str]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "1"):
        return True
    if text in ("false", "0", ""):
        return False
    issue(issues, path, "true or false", value)
    return None


def read_list(item: Reader) -> Reader:
    def read(value: Any, path: str, issues: List[str]) -> Any:
        if value is None or value == "":
            return None
        if not isinstance(value, list):
            issue(issues, path, "a list", value)
            return None
        return [item(v, "%s[%d]" % (path, i), issues) for i, v in enumerate(value)]

    return read


def read_map(item: Reader) -> Reader:
    def read(value: Any, path: str, issues: List[str]) -> Any:
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            issue(issues, path, "an object", value)
            return None
        return {name: item(v, path + "." + name, issues) for name, v in value.items()}

    return read


def read_object(kind: Callable[[], Any]) -> Reader:
    """Reads a dataclass; kind gives the class, which may be defined later in its module."""

    def read(value: Any, path: str, issues: List[str]) -> Any:
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            issue(issues, path, "an object", value)
            return None
        made = kind()()
        known = set()
        for f in fields(made):
            wire = f.metadata.get("wire")
            if wire is None:
                continue
            known.add(wire)
            if wire in value:
                setattr(made, f.name, f.metadata["read"](value[wire], path + "." + wire, issues))
        made.extra.update((n, v) for n, v in value.items() if n not in known)
        return made

    return read


def read_body(raw: bytes, reader: Any, issues: List[str]) -> Any:
    """Reads a body: as bytes, as text, or as JSON through a reader."""
    if reader == "bytes":
        return raw
    if reader == "text":
        return raw.decode("utf-8", "replace")
    if not raw.strip():
        return None
    try:
        value = json.loads(raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError) as e:
        issues.append("the body is not JSON: %s" % e)
        return raw.decode("utf-8", "replace") if reader is read_any else None
    return reader(value, "$", issues)
