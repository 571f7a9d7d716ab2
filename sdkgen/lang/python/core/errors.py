"""Why a call failed."""

from __future__ import annotations

from typing import Mapping, Optional

WRONG_SIGNATURE = "Invalid Signature, Server StringToSign:`"


class Error(Exception):
    """The answer to a call that failed, or why there was none.

    kind is one of auth, subscription, throttled, request, gateway, backend, transport. An
    answer of the gateway has a code; without one it is the seller's.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        attempts: int = 1,
        headers: Optional[Mapping[str, str]] = None,
        raw: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.attempts = attempts
        self.headers: Mapping[str, str] = headers or {}
        self.raw = raw
        self.hint = ""

    def __str__(self) -> str:
        text = self.kind + " error"
        if self.status:
            text += ", status %d" % self.status
        if self.code:
            text += ", code " + self.code
        if self.message:
            text += ": " + self.message
        if self.hint:
            text += " (" + self.hint + ")"
        if self.request_id:
            text += ", request " + self.request_id
        return text

    def explain(self, ours: str) -> None:
        """Finds the first line in which the gateway's string to sign differs from ours."""
        if self.code != "A403IS" or not self.message.startswith(WRONG_SIGNATURE):
            return
        theirs = self.message[len(WRONG_SIGNATURE) :].rstrip("`").split("#")
        mine = ours.replace("#", "\n").split("\n")
        names = ["method", "Accept", "Content-MD5", "Content-Type", "Date"]
        for i, line in enumerate(mine):
            saw = theirs[i] if i < len(theirs) else ""
            if i < len(theirs) and saw == line:
                continue
            what = names[i] if i < len(names) else "line %d" % (i + 1)
            self.hint = "%s: sent %r, the gateway saw %r" % (what, line, saw)
            return
        self.hint = "both sides signed the same text: the AppSecret is not the one of this AppKey"


def kind_of(code: str) -> str:
    """The kind of an error by its code."""
    if not code:
        return "backend"
    if code.startswith("B403"):
        return "subscription"
    if code.startswith("T429"):
        return "throttled"
    if code.startswith("A4") or code in ("S403TE", "S403NU", "I403AA", "I400I5", "I400NC"):
        return "auth"
    if code.startswith("I4"):
        return "request"
    return "gateway"
