"""Every error that can end a turn or a request, in one tree.

    MulgilError
     ├─ Refused                   a turn never starts
     │   ├─ InvalidInput          400, 422: FieldMissing, ChoiceUnknown, MessageTooShort, TooLong, ...
     │   ├─ Gone                  410: a turn that can't be followed any more
     │   ├─ Busy, ShuttingDown    503, with Retry-After
     │   └─ NotFound, MethodNotAllowed, UnsupportedMediaType   404, 405, 415
     ├─ OffTopic                  200: the domain's own sentence
     ├─ Superseded, Stopped       409, 410: somebody ended the turn
     ├─ UpstreamFailed            502: the engine or the index refused, failed, or gave no usable answer
     │   └─ UpstreamTimeout       504
     └─ InternalError             500: anything else

The class carries `code` (the key of the public sentence in the domain's `[messages]`), `status` and `retryable`.
The exception's own text is for logs: it never reaches a client.
"""

from __future__ import annotations

from typing import ClassVar


class MulgilError(Exception):
    """Base of the tree; `code` names the public sentence, which the domain holds."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    @property
    def message_key(self) -> str:
        """Key of the public sentence in the domain's messages."""
        return self.code

    @property
    def data(self) -> dict[str, object] | None:
        """What a JSON error answer carries in `data`."""
        return None


class InternalError(MulgilError):
    """Anything that no other class names."""


class SetupError(Exception):
    """The start can't go on; its text says what is wrong and what to do. Never raised while serving."""


# -- refused before a turn exists ---------------------------------------------------------------------------------


class Refused(MulgilError):
    """The request starts no turn."""

    retry_after: int | None = None


class InvalidInput(Refused):
    """The input breaks a rule of the contract's table."""

    status = 400


class FieldError(InvalidInput):
    """An input error about one named field; each field has its own sentence (`required.location`)."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{self.code}: {field}")
        self.field = field

    @property
    def message_key(self) -> str:
        """Key of the field's own sentence."""
        return f"{self.code}.{self.field}"


class FieldMissing(FieldError):
    """A required field is missing or blank."""

    code = "required"


class TooLong(FieldError):
    """A field is longer than its limit, in code points after NFC."""

    code = "too_long"
    status = 422


class NotText(FieldError):
    """A field that must be a string is something else."""

    code = "not_text"
    status = 422


class ChoiceUnknown(InvalidInput):
    """A field's value is none of those offered."""

    code = "choice_unknown"

    def __init__(self, *fields: str) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields

    @property
    def data(self) -> dict[str, object] | None:
        """The names of the fields, as JSON answers tell them."""
        return {"invalidFields": list(self.fields)}


class MessageTooShort(InvalidInput):
    """The message has under 5 characters, or is no string."""

    code = "message_too_short"
    status = 422


class BadTurnId(InvalidInput):
    """`turnId` (or `Idempotency-Key`) is no UUID."""

    code = "bad_turn_id"
    status = 422


class TurnIdReused(InvalidInput):
    """A known `turnId` came with other parameters than the first time."""

    code = "turn_id_reused"
    status = 422


class BadBody(InvalidInput):
    """The body is no JSON object."""

    code = "bad_body"
    status = 422


class BadRequest(Refused):
    """The bytes are no HTTP request."""

    code = "bad_request"
    status = 400


class Gone(Refused):
    """The turn is unknown here, expired, or another session's."""

    code = "gone"
    status = 410


class Busy(Refused):
    """The queue is full, or the wait would outlast the turn's limit."""

    code = "busy"
    status = 503
    retryable = True

    def __init__(self, retry_after: int = 5) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


class ShuttingDown(Refused):
    """The server is on its way out."""

    code = "shutting_down"
    status = 503
    retryable = True
    retry_after = 5


class NotFound(Refused):
    """No such path."""

    code = "not_found"
    status = 404


class MethodNotAllowed(Refused):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class UnsupportedMediaType(Refused):
    """A POST whose content type is not `application/json`."""

    code = "unsupported_media_type"
    status = 415


class BodyTooLarge(Refused):
    """A body over the limit."""

    code = "body_too_large"
    status = 413


# -- ends of a running turn ---------------------------------------------------------------------------------------


class OffTopic(MulgilError):
    """The message is not the domain's business, or profane."""

    code = "off_topic"
    status = 200


class Superseded(MulgilError):
    """A new turn of the same session ended this one."""

    code = "superseded"
    status = 409


class Stopped(MulgilError):
    """Stopped by DELETE, or left and over."""

    code = "stopped"
    status = 410


class UpstreamFailed(MulgilError):
    """The engine or the index refused, failed, stalled, or gave no usable answer."""

    code = "upstream"
    status = 502
    retryable = True


class UpstreamTimeout(UpstreamFailed):
    """A time limit of the engine or of the whole turn ran out."""

    code = "upstream"
    status = 504
    retryable = False
