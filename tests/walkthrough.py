"""Walk-throughs in the documentation: their commands are run, and print what the page says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["commands", "outputs"]

CHANGING = (
    (r"\b[0-9A-F]{32}\b|\b[0-9a-f]{32}\b", "ID"),
    (r"\b20\d\d-\d\d-\d\d[T ][0-9:.]+(\+00:00| [A-Z]+)?", "TIME"),
    (r"(?<=[:\[,])\d{3,}\b|(?<=position )\d+|\b\d+(?= facts are)|(?<=up to )\d+", "POSITION"),
)
"""What is another in each run, or with another demo organisation."""
ROOT = Path(__file__).parent.parent


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Each command of the page's console blocks, with the output it shows."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, _steady(output)


async def outputs(page: Path, base: str, environment: Mapping[str, str]) -> list[str]:
    """What the page's commands print, run as one shell session against the service at ``base``."""
    program = f'crmledger() {{ "{sys.executable}" -m infra.cli.main "$@"; }}'
    script = [program, *(f"{command}\necho; echo ---" for command, _ in commands(page))]
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", "\n".join(script).replace("http://127.0.0.1:8080", base)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=dict(environment),
    )
    said, _ = await shell.communicate()
    return [_steady(output) for output in said.decode().split("\n---\n")[:-1]]


def _steady(output: str) -> str:
    """The output without what is another in each run."""
    for changing, name in CHANGING:
        output = re.sub(changing, name, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())
