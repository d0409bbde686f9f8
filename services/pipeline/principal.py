"""On whose behalf the present call is made, as far as it is known: for the security log alone.

Nothing is decided by it. It is filled while the call is checked, and read when it has ended, whatever became of it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["PRINCIPAL", "Principal", "current_principal"]


@dataclass(slots=True)
class Principal:
    """Ids of who calls; empty where that is not known. ``operator`` is the fingerprint of an operator key.

    ``changed_secrets`` are what the call has set, as ``kind/id name``; ``is_limited`` tells that a limit was reached.
    """

    organisation: str = ""
    user: str = ""
    session: str = ""
    account: str = ""
    operator: str = ""
    changed_secrets: list[str] = field(default_factory=list)
    is_limited: bool = False


PRINCIPAL: ContextVar[Principal] = ContextVar("principal")
"""That of the request being served."""


def current_principal() -> Principal:
    """Return that of the present request; outside of one, one that nobody reads."""
    return PRINCIPAL.get(None) or Principal()
