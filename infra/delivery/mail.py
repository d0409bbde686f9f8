"""The e-mail that a communication becomes: a letter, and to whom it can go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

import structlog

from domain.mail_addresses import domain_of, parse_address, split_addresses
from domain.reference.delivery_servers import render_template
from infra.delivery.html_content import escape_values, text_alternative
from infra.delivery.letter import Letter, LetterError, compose
from services.communications.delivery import Message, SendResult

__all__ = ["InvalidMessage", "Mail", "Presentation"]

NO_ADDRESS = SendResult("rejected", "INVALID_RECIPIENT", "This is not an e-mail address")
NEEDS_UTF8 = SendResult(
    "rejected", "INVALID_RECIPIENT", "The server takes ASCII addresses only (no SMTPUTF8)"
)

log = structlog.get_logger(__name__)


class InvalidMessage(Exception):
    """A message that no server can be given; ``code`` is that of the result."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Presentation:
    """The look of an organisation's e-mails, from its settings; ``reply_to`` is a parsed address.

    ``unsubscribe`` is the template of URIs, separated by blanks, for messages of these categories, or of
    all if there are none.
    """

    html: bool = False
    sender_name: str | None = None
    reply_to: str | None = None
    unsubscribe: str | None = None
    unsubscribe_categories: Collection[str] = ()

    def unsubscribe_uris(self, message: Message) -> list[str]:
        """Return where the reader of a message can unsubscribe. Values are escaped in URIs."""
        is_wanted = (
            not self.unsubscribe_categories or message.category in self.unsubscribe_categories
        )
        if not self.unsubscribe or message.is_automatic or not is_wanted:
            return []
        values = {"contact": message.contact, "key": message.idempotency_key}
        return render_template(self.unsubscribe, values, quote).split()


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter as bytes; ``refused`` are the results of the recipients whom it cannot go to.

    A recipient that may be accepted later holds up the others, unless it ``is_last_try``: nobody
    gets the letter twice.
    """

    letter: Letter
    content: bytes
    refused: Mapping[str, SendResult]
    is_last_try: bool

    @classmethod
    def of(cls, message: Message, presentation: Presentation) -> Mail:
        """Return the mail that a message becomes. Whatever fails is the message's fault.

        :raises InvalidMessage: if no recipient or the sender has an address, or it cannot be composed.
        """
        with _composition():
            recipients: dict[str, None] = {}
            refused = {}
            for text in split_addresses(message.to) or [message.to]:
                try:
                    recipients[parse_address(text)] = None
                except ValueError:
                    refused[text] = NO_ADDRESS
            letter = _letter(message, tuple(recipients), presentation)
            return _mail(letter, refused, is_last_try=message.is_last_try)

    @property
    def is_ascii(self) -> bool:
        """True if a server need not know SMTPUTF8 (RFC 6531)."""
        return all(map(str.isascii, (self.letter.sender, *self.letter.recipients)))

    def for_server(self, *, utf8: bool) -> Mail:
        """Return the mail for a server that knows SMTPUTF8, or does not.

        :raises InvalidMessage: if it does not, and the sender or all recipients need it.
        """
        if utf8 or self.is_ascii:
            return self
        if not self.letter.sender.isascii():
            raise InvalidMessage("INVALID_SENDER", NEEDS_UTF8.text)
        recipients = tuple(filter(str.isascii, self.letter.recipients))
        others = [address for address in self.letter.recipients if not address.isascii()]
        refused = {**self.refused, **dict.fromkeys(others, NEEDS_UTF8)}
        with _composition():
            letter = replace(self.letter, recipients=recipients)
            return _mail(letter, refused, is_last_try=self.is_last_try)

    def result(self, refused: Mapping[str, SendResult]) -> SendResult:
        """Return what to do, or say, when a server has refused some of the recipients.

        ``sent`` if it may go to the others; its code and text tell of those who do not get it.
        """
        everybody = {**self.refused, **refused}
        if not everybody:
            return SendResult("sent")
        postponed = [result for result in refused.values() if result.name == "deferred"]
        if len(refused) == len(self.letter.recipients) or (postponed and not self.is_last_try):
            return _combined(everybody, *postponed)
        return replace(_combined(everybody), name="sent", text=_reasons(everybody))


def _combined(refused: Mapping[str, SendResult], *worst: SendResult) -> SendResult:
    """Return one result for all who were refused: the first of the ``worst``, if any."""
    first = (*worst, *refused.values())[0]
    return replace(first, text=_reasons(refused)) if len(refused) > 1 else first


def _reasons(refused: Mapping[str, SendResult]) -> str:
    return "; ".join(f"{address}: {r.code} {r.text}" for address, r in refused.items())


@contextmanager
def _composition() -> Iterator[None]:
    """Blame the message for whatever fails inside. Raises `InvalidMessage`."""
    try:
        yield
    except InvalidMessage:
        raise
    except LetterError as error:
        raise InvalidMessage("INVALID_CONTENT", str(error)) from error
    except Exception as error:
        log.exception("sending.compose")
        text = f"The message cannot be composed ({type(error).__name__})"
        raise InvalidMessage("INVALID_CONTENT", text) from error


def _mail(letter: Letter, refused: Mapping[str, SendResult], *, is_last_try: bool) -> Mail:
    if not letter.recipients:
        result = _combined(refused)
        raise InvalidMessage(result.code, result.text)
    return Mail(letter, compose(letter), refused, is_last_try)


def _letter(message: Message, recipients: Sequence[str], presentation: Presentation) -> Letter:
    try:
        sender = parse_address(message.sender or "")
    except ValueError as error:
        raise InvalidMessage("INVALID_SENDER", NO_ADDRESS.text) from error
    # A notice is a plain text of the service itself.
    is_html = presentation.html and not message.is_automatic
    html = escape_values(message.content, message.inserted_values) if is_html else None
    return Letter(
        message_id=f"{message.idempotency_key}@{domain_of(sender)}",
        date=datetime.now(UTC),
        sender=sender,
        sender_name=presentation.sender_name,
        reply_to=presentation.reply_to,
        recipients=recipients,
        subject=message.subject,
        text=message.content if html is None else text_alternative(html),
        html=html,
        unsubscribe=presentation.unsubscribe_uris(message),
        automatic=message.is_automatic,
    )
