"""The terminal: the one place that prints, and all that it is given is data.

No text is markup, an emoji code, a link or something to highlight, and control characters are made
visible. Documents that programs read stay as they are unless they are shown at a terminal.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn, TypeAlias

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from infra.terminal_text import visible, visible_json, visible_lines

__all__ = ["Styled", "err", "exit_with", "out", "progress", "show_tracebacks"]

Styled: TypeAlias = str | tuple[str, str]
"""A text, or a text and its style."""

PIPE_WIDTH = 10_000
"""The columns of characters of a pipe, for tables: who reads it may cut them."""


class Terminal(Console):
    """Standard output or standard error."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def print_line(self, *parts: Styled, style: str = "", wrapped: bool = False) -> None:
        """Print one line, however long; ``wrapped`` at words if it is to be read as text."""
        self.print(_text(*parts, style=style), soft_wrap=not wrapped)

    def print_table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table. The first column is never wrapped; in a pipe nothing is."""
        table = Table(Column(columns[0], no_wrap=True), *columns[1:])
        for row in rows:
            table.add_row(*map(_text, row))
        former = self._width
        if not self.is_terminal:
            self.width = PIPE_WIDTH
        try:
            self.print(table)
        finally:
            self._width = former

    def print_grid(self, rows: Iterable[Sequence[Styled]]) -> None:
        """Print rows in columns without a frame."""
        grid = Table.grid(padding=(0, 2))
        for row in rows:
            grid.add_row(*map(_text, row))
        self.print(grid)

    def print_document(self, document: bytes) -> None:
        """Print a document for programs."""
        text = document.decode()
        self.file.write((visible_json(text) if self.file.isatty() else text) + "\n")

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is printed; whatever made it, its texts hold no control characters."""
        for segment in super().render(renderable, options):
            is_text = not segment.control
            yield segment._replace(text=visible_lines(segment.text)) if is_text else segment


out, err = Terminal(), Terminal(stderr=True)


def exit_with(error: object) -> NoReturn:
    """Print an error as one line, and exit with status 1."""
    err.print_line(f"crmledger: {error}", style="red")
    sys.exit(1)


class _Bars(Progress):
    """Progress bars with descriptions of data."""

    def add_task(self, description: str, *arguments: Any, **options: Any) -> TaskID:
        """Add a bar."""
        return super().add_task(visible(description), *arguments, **options)


def progress() -> Progress:
    """A progress bar on standard error."""
    return _Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
    )


def show_tracebacks() -> None:
    """Print the traceback of an unexpected error like all else: its message may hold anything."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lines = traceback.format_exception(kind, error, trace)
        err.print(Text("".join(lines).rstrip("\n")), soft_wrap=True)

    def show_in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            show(failed.exc_type, failed.exc_value, failed.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_in_thread


def _text(*parts: Styled, style: str = "") -> Text:
    visible_parts = [
        visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts
    ]
    return Text.assemble(*visible_parts, style=style)
