"""Files with personal data or secrets: nobody but their owner reads them, whatever the umask says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["PRIVATE", "replace_privately"]

PRIVATE = 0o600


@contextmanager
def replace_privately(file: Path) -> Iterator[Path]:
    """Yield a draft that replaces ``file`` at the end, with mode 0600; none is left if the block fails.

    It lies in a folder of its own, of mode 0700 from the beginning, so that what a library writes, under
    whatever name and mode, is as private; what else lies there goes with it.
    """
    with TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        draft = Path(folder, file.name)
        yield draft
        draft.chmod(PRIVATE)
        draft.replace(file)
