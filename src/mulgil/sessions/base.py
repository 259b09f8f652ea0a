"""What a session keeps, and the seam of its stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mulgil.domain.model import Profile


@dataclass(frozen=True, slots=True)
class Exchange:
    """One finished turn as the engine saw it: messages are append-only, so that its prefix cache holds them."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session's state; `version` counts its writes, 0 means that nothing was ever written."""

    profile: Profile = field(default_factory=Profile)
    exchanges: tuple[Exchange, ...] = ()
    given: tuple[str, ...] = ()
    version: int = 0


class VersionConflict(Exception):
    """Somebody else wrote the session first."""


class SessionStore(Protocol):
    """Where sessions live. A session is written whole or not at all; `save` compares and sets the version."""

    async def load(self, session_id: str) -> Session:
        """Return the session, or an empty one (version 0) if it is unknown or expired."""
        ...

    async def save(self, session_id: str, session: Session) -> Session:
        """Write the session if the stored version is still `session.version`; return it with the next version.

        Raises `VersionConflict` otherwise.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Forget the session; an unknown id is no error."""
        ...

    async def close(self) -> None:
        """Release the store."""
        ...
