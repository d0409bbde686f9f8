"""The security log: who did what, from where, with which outcome (OWASP ASVS 5.0, section 16.3).

Its lines are those of the log with the event ``security``; each names an action of `ACTIONS`. No line holds a
secret, nor what a caller has typed as a name: a password often stands in the wrong field.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog

from domain.errors import (
    AccessDenied,
    InvalidToken,
    TokenExpired,
    TooManyRequests,
)
from services.pipeline.principal import Principal

__all__ = ["ACTIONS", "SecurityLog", "security_log"]

ACTIONS: Mapping[str, str] = {
    "sign_in": "A login by password, key or access token, at the API or on a page, and its outcome.",
    "sign_out": "A session was released by its holder.",
    "session_refused": "A call came with a token that is malformed, unknown, ended or expired.",
    "access_denied": "A role, the kind of session or a direction does not allow the call.",
    "operator_act": "A call with the operator key, and its outcome.",
    "operator_refused": "A call of the operators' methods without a right key.",
    "limit_reached": "A limit on guesses, logins or calls refused a call.",
    "secret_changed": "A password or key was set, or made.",
    "personal_data_erased": "A contact was erased.",
    "personal_data_exported": "Personal data was exported in clear by a command.",
    "keys_rewrapped": "The present service key took over all that a former one had encrypted.",
    "lines_suppressed": "So many lines of one action and address were left out in a minute.",
}
"""The meaning of each action, by its name."""

LINES, SECONDS = 60, 60.0
"""Lines of one action and address in so many seconds: a flood must not fill the disk."""
SIGN_OUTS = frozenset({"authentication/token/release", "console/sign-out", "history/sign-out"})
ADDRESSES = 10_000
"""Addresses that are remembered."""

log = structlog.get_logger(__name__)


class SecurityLog:
    """Writes lines, a bounded number for each action and address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def record(self, action: str, *, address: str = "", **members: object) -> None:
        """Write a line with an action of `ACTIONS`, where it came from, and what is known beyond that."""
        if action not in ACTIONS:
            raise ValueError(f"{action} is no action of the security log")
        key, now = (action, address), self._clock()
        since, count = self._written.pop(key, (now, 0))
        if now - since >= SECONDS:
            if count > LINES:
                self._write("lines_suppressed", address, suppressed=action, lines=count - LINES)
            since, count = now, 0
        self._written[key] = since, count + 1
        if len(self._written) > ADDRESSES:
            self._written.popitem(last=False)
        if count < LINES:
            self._write(action, address, **members)

    def record_call(
        self, principal: Principal, label: str, verb: str, path: str, code: str, address: str
    ) -> None:
        """Write what a call that has ended means for security; nothing if it is one of many."""
        actions = _actions(principal, label, verb, code)
        if not actions:
            return
        members = {
            "outcome": code,
            "method": label,
            **{
                name: value
                for name in ("organisation", "user", "session", "account", "operator")
                if (value := getattr(principal, name))
            },
        }
        for action in actions:
            more: dict[str, object] = {}
            if action.startswith("operator"):
                more["path"] = path[:200]
            if action == "secret_changed":
                more["secrets"] = principal.changed_secrets[:20]
            self.record(action, address=address, **members, **more)

    def _write(self, action: str, address: str, **members: object) -> None:
        log.info("security", action=action, address=address, **members)


def _actions(principal: Principal, label: str, verb: str, code: str) -> list[str]:
    """Return the actions that a call with an outcome means."""
    is_operators = label.startswith(("operator", "reference"))
    actions = {
        "sign_in": (label.startswith("authentication/") and label.endswith("token"))
        or (label.endswith("/sign-in") and verb == "POST"),
        "sign_out": label in SIGN_OUTS and code == "OK",
        "operator_act": is_operators and bool(principal.operator),
        "operator_refused": is_operators and code == InvalidToken.code,
        "session_refused": not is_operators and code in (InvalidToken.code, TokenExpired.code),
        "access_denied": code == AccessDenied.code,
        "limit_reached": principal.is_limited or code == TooManyRequests.code,
        "secret_changed": bool(principal.changed_secrets) and code == "OK",
        "personal_data_erased": label == "audit/contacts/*" and verb == "POST" and code == "OK",
    }
    return [action for action, applies in actions.items() if applies]


security_log = SecurityLog()
"""That of this process."""
