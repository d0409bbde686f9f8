"""``crmledger-verify``: checks a bundle or a proof, with nothing but the file and what its reader keeps.

It touches neither database nor network, and needs of this program only what is imported here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from infra.audit.bundle import BundleError, Manifest, open_bundle
from infra.audit.bundle_verification import check_bundle
from infra.audit.errors import TamperError
from infra.audit.proofs import ProofError, read_proof
from infra.audit.seal_verification import SealVerifier
from infra.audit.seals import SealError, SignedSeal, parse_seals, trusted_seals
from infra.terminal_text import visible

__all__ = ["main"]

EPILOG = """
exit status: 0 if everything is as it was sealed, 1 if not. A trusted checkpoint is a seal that
`crmledger audit seal` has printed, stored where nobody who can write the database can write. Without
one, a ledger that was cut or rewritten and sealed again with the same key cannot be recognised.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return 0 if everything is as it was sealed, else print the first deviation and return 1."""
    options = _parser().parse_args(arguments)
    try:
        outside = [signed for path in options.seal for signed in parse_seals(path.read_bytes())]
        if _is_proof(options.file):
            lines = _verify_proof(options.file, options.key, outside)
        else:
            lines = _verify_bundle(options.file, options.key, outside)
    except (TamperError, BundleError, ProofError, SealError, OSError) as error:
        sys.stderr.write(f"crmledger-verify: {visible(str(error))}\n")
        return 1
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors hold no control characters of its arguments."""

    def error(self, message: str) -> NoReturn:
        """Print an error and exit with status 2."""
        super().error(visible(message))


def _parser() -> _Parser:
    parser = _Parser("crmledger-verify", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "file", type=Path, help="a file of `crmledger audit export`, `prove` or `prove-entity`"
    )
    parser.add_argument(
        "--seal",
        type=Path,
        action="append",
        default=[],
        help="a trusted checkpoint: a file of seals stored outside the database",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="a trusted public key (`crmledger audit public-key`)",
    )
    return parser


def _is_proof(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _verify_proof(path: Path, keys: list[str], outside: list[SignedSeal]) -> list[str]:
    proof = read_proof(path.read_bytes())
    statement = proof.check(_trusted_keys(keys, outside, proof.seal.seal().key))
    seal = proof.seal.seal()
    trusted = trusted_seals(outside, seal.organisation)
    if trusted and trusted.get(seal.number) != proof.seal.without_leaves():
        raise ProofError(f"seal {seal.number} is not among the trusted checkpoints")
    return [f"proved: {statement}", _key_report(keys, outside, seal.key)]


def _verify_bundle(path: Path, keys: list[str], outside: list[SignedSeal]) -> list[str]:
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        trusted = trusted_seals(outside, manifest.organisation)
        if outside and not trusted:
            raise SealError(f"the trusted checkpoints are not of {manifest.organisation}")
        verifier = check_bundle(bundle, _trusted_keys(keys, outside, manifest.key), trusted)
    return [*_bundle_report(manifest, verifier, trusted), _key_report(keys, outside, manifest.key)]


def _trusted_keys(keys: list[str], outside: list[SignedSeal], claimed: str) -> set[str]:
    """Return the keys of options and outside seals; without any, the key that the file itself names."""
    return {*keys, *(signed.seal().key for signed in outside)} or {claimed}


def _bundle_report(
    manifest: Manifest, verifier: SealVerifier, trusted: dict[int, SignedSeal]
) -> list[str]:
    lines = [
        f"proved: positions {manifest.first} to {verifier.position} of {manifest.organisation} are "
        f"{manifest.events} events, unchanged, in order, none missing, under {manifest.seals} seals"
    ]
    if verifier.from_genesis:
        lines.append(
            "proved: each entity's versions are dense, and the seals say how far each has come"
        )
    else:
        lines.append("not proved: what was before, and how far each entity had come")
    if trusted:
        last = max(signed.seal().last for signed in trusted.values())
        lines.append(
            f"proved: up to {last} nothing was cut or rewritten since the trusted checkpoint"
        )
    else:
        lines.append("not proved without a trusted checkpoint: that nothing was cut at the end")
    return lines


def _key_report(keys: list[str], outside: list[SignedSeal], key: str) -> str:
    if keys or outside:
        return f"signed by {key}, a trusted public key"
    return f"signed by {key}, as the file itself says: compare it with `crmledger audit public-key`"


if __name__ == "__main__":
    sys.exit(main())
