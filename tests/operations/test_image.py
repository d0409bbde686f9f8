"""The image and the compose file: what is built is pinned, and what runs may do little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
PINNED = r"[a-z]+:\d+\.\d+(\.\d+)?(-slim)?@sha256:[0-9a-f]{64}"


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of one kind."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.M)


def test_every_base_is_pinned_by_version_and_digest() -> None:
    bases = [base.partition(" ")[0] for base in instructions("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    images = [
        service["image"] for service in COMPOSE["services"].values() if "build" not in service
    ]
    assert images
    assert not [image for image in (*bases, *images) if not re.fullmatch(PINNED, image)]


def test_everything_is_installed_by_hash() -> None:
    installing = [
        run for run in instructions("RUN") if re.search(r"\b(pip|uv|curl|wget|apt-get)\b", run)
    ]
    assert len(installing) == 3
    for run in installing:
        assert "--require-hashes -r /tmp/uv.txt" in run or run.startswith("uv sync --frozen "), run
    listed = (ROOT / ".ci" / "uv.txt").read_text("utf-8")
    (version,) = re.findall(r"^uv==(\S+)", listed, re.M)
    assert f"UV_VERSION := {version}\n" in (ROOT / "Makefile").read_text("utf-8")
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", listed)) >= 2
    locked = (ROOT / "uv.lock").read_text("utf-8")
    files = re.findall(r"\{ (?:url|path) = [^}]+\}", locked)
    assert files
    assert not [file for file in files if 'hash = "sha256:' not in file]


def test_the_image_runs_as_nobody_in_particular() -> None:
    user = instructions("USER")
    assert user == ["10001"]
    assert DOCKERFILE.index("USER 10001") > DOCKERFILE.rindex("\nRUN ")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_process_may_do_more_than_it_must(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert not {"cap_add", "privileged", "pid", "network_mode"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service.get("user") == ("postgres" if name == "postgres" else None)


@pytest.mark.parametrize("field", ["TOKEN_SECRET", "SERVICE_KEY", "OPERATOR_KEY"])
def test_secrets_have_no_default_and_can_be_rotated(field: str) -> None:
    names = set(Settings.__struct_encode_fields__)
    for service in COMPOSE["services"].values():
        if "build" in service:
            variables = service["environment"]
            assert not {name for name in variables if name.startswith("CRMLEDGER_")} - names
            assert variables[f"CRMLEDGER_{field}"].startswith(f"${{CRMLEDGER_{field}:?")
            fallbacks = f"CRMLEDGER_{field}_FALLBACKS"
            assert variables[fallbacks] == f"${{{fallbacks}:-}}"


def audit(tmp_path: Path, status: int) -> subprocess.CompletedProcess[str]:
    """The step of `.ci/run` that audits, with a `uv` that ends so."""
    tool = tmp_path / ".venv" / "uv-tool" / "bin" / "uv"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\necho told >&2\nexit {status}\n")
    tool.chmod(0o755)
    step = re.search(
        r"^audited=0$.*?^esac$", (ROOT / ".ci" / "run").read_text("utf-8"), re.M | re.S
    )
    assert step
    script = f"set -euo pipefail\nlog=$(mktemp)\nstatus=0\n{step[0]}\nrm $log\nexit $status\n"
    return subprocess.run(
        ["bash", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="CI runs in bash")
@pytest.mark.parametrize(
    ("status", "ends", "says"),
    [(0, 0, ""), (1, 1, "told"), (2, 0, "not audited"), (127, 0, "not audited")],
)
def test_an_audit_fails_by_what_it_finds_only(
    tmp_path: Path, status: int, ends: int, says: str
) -> None:
    done = audit(tmp_path, status)
    assert (done.returncode, says in done.stderr) == (ends, True)
