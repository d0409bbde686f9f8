"""Settings: what an operator may write, what is refused and in which words, what is kept and what is shown."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.settings import SECRETS, Settings, SettingsError

KEYS = {name: f"{name.lower()}-that-is-long-enough" for name in SECRETS}
SERVER = {"DATABASE_URL": "postgresql://crm:hidden-password@db/crm", **KEYS}


def settings(path: Path, **variables: str) -> Settings:
    return Settings.from_environment({"CRMLEDGER_DATA_DIR": str(path), **variables})


def test_nothing_need_be_set(tmp_path: Path) -> None:
    found = Settings.from_environment({"HOME": str(tmp_path)})
    assert found.data_dir == tmp_path / ".local" / "share" / "crmledger"
    assert (found.embedded, found.host, found.port, found.admin_port) == (
        True,
        "127.0.0.1",
        8080,
        8081,
    )
    assert (found.time_zone, found.rate_limit, found.connections) == ("Asia/Nicosia", None, 4)


def test_everything_can_be_set(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        **SERVER,
        CRMLEDGER_HOST="0.0.0.0",
        CRMLEDGER_PORT="80",
        CRMLEDGER_ADMIN_PORT="81",
        CRMLEDGER_SHARE_PORT="true",
        CRMLEDGER_TIME_ZONE="Europe/Athens",
        CRMLEDGER_RATE_LIMIT="2.5",
        CRMLEDGER_CONNECTIONS="9",
    )
    assert (found.database_url, found.embedded) == (SERVER["DATABASE_URL"], False)
    assert [found.token_secret, found.service_key, found.operator_key] == list(KEYS.values())
    assert (found.host, found.port, found.admin_port) == ("0.0.0.0", 80, 81)
    assert found.share_port
    assert (found.time_zone, found.rate_limit, found.connections) == ("Europe/Athens", 2.5, 9)


def test_empty_is_absent(tmp_path: Path) -> None:
    found = settings(tmp_path, DATABASE_URL="", CRMLEDGER_PORT="", CRMLEDGER_TOKEN_SECRET="")
    assert (found.database_url, found.port, len(found.token_secret) >= 32) == (None, 8080, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db"),
        ("CRMLEDGER_PORT", "http"),
        ("CRMLEDGER_SHARE_PORT", "perhaps"),
        ("CRMLEDGER_PORT", "65536"),
        ("CRMLEDGER_PORT", "-1"),
        ("CRMLEDGER_ADMIN_PORT", "8080"),
        ("CRMLEDGER_TIME_ZONE", "Nicosia"),
        ("CRMLEDGER_TIME_ZONE", "../etc/passwd"),
        ("CRMLEDGER_TIME_ZONE", "Asia"),
        ("CRMLEDGER_RATE_LIMIT", "0"),
        ("CRMLEDGER_RATE_LIMIT", "inf"),
        ("CRMLEDGER_RATE_LIMIT", "nan"),
        ("CRMLEDGER_CONNECTIONS", "0"),
        ("CRMLEDGER_TOKEN_SECRET", "too-short"),
        ("CRMLEDGER_SERVICE_KEY", "x" * 31),
        ("CRMLEDGER_OPERATOR_KEY", "\udcff" * 32),
    ],
)
def test_a_bad_value_is_named_and_a_secret_not_shown(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, **{**SERVER, name: value})
    assert str(caught.value).startswith(f"{name}: ")
    if name in {*SECRETS, "DATABASE_URL"}:
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CRMLEDGER_PORT", "abc", "a number from 0 to 65535"),
        ("CRMLEDGER_PORT", "65536", "a number from 0 to 65535"),
        ("CRMLEDGER_SHARE_PORT", "perhaps", "true or false"),
        ("CRMLEDGER_RATE_LIMIT", "0", "a number above 0, at most 1000000"),
        ("CRMLEDGER_CONNECTIONS", "few", "a number from 1 to 1000"),
        ("CRMLEDGER_SEAL_SECONDS", "-1", "a number from 0 to 86400"),
        ("CRMLEDGER_TRACES_URL", "collector:4318", "an http:// or https:// URL"),
        ("CRMLEDGER_TIME_ZONE", "Asia", "an IANA time zone such as Asia/Nicosia"),
        ("CRMLEDGER_WEBHOOK_NETWORKS", "lan", "networks such as 10.0.0.0/8,fd00::/8"),
        ("CRMLEDGER_TRUSTED_PROXIES", "10.0.0.1/8", "networks such as 10.0.0.0/8,fd00::/8"),
    ],
)
def test_a_bad_value_is_told_what_it_must_be(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, **{**SERVER, name: value})
    assert str(caught.value) == f"{name}: must be {expected}, got '{value}'"


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_measured_in_bytes(tmp_path: Path, name: str) -> None:
    assert settings(tmp_path, **{**SERVER, name: "ω" * 16})
    with pytest.raises(SettingsError, match="at least 32 bytes"):
        settings(tmp_path, **{**SERVER, name: "ω" * 15})


@pytest.mark.parametrize("name", SECRETS)
def test_a_real_server_gets_no_generated_secret(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: must be set"):
        settings(tmp_path, **{**SERVER, name: ""})
    assert list(tmp_path.iterdir()) == []


def test_generated_secrets_are_kept_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = settings(tmp_path / "data")
    finally:
        os.umask(before)
    again = settings(tmp_path / "data")
    assert again == first
    assert len({first.token_secret, first.service_key, first.operator_key}) == 3
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*")
    }
    assert modes == {
        "secrets": 0o700,
        "token_secret": 0o600,
        "service_key": 0o600,
        "operator_key": 0o600,
    }


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    settings(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_programs_started_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: settings(tmp_path), range(16)))
    assert {(each.token_secret, each.service_key, each.operator_key) for each in found} == {
        (found[0].token_secret, found[0].service_key, found[0].operator_key)
    }
    assert len(list((tmp_path / "secrets").iterdir())) == 3


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"^CRMLEDGER_DATA_DIR: cannot keep .*file"):
        settings(tmp_path / "file" / "data")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    found = settings(tmp_path, **SERVER)
    for shown in (repr(found), str(found), f"{found}", f"{[found]}"):
        assert "8080" in shown
        assert not [secret for secret in (*KEYS.values(), "hidden-password") if secret in shown]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_DATA_HOME": "/xdg", "HOME": "/home/x"}, "/xdg/crmledger"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/home/x"}, "/home/x/.local/share/crmledger"),
        ({"XDG_DATA_HOME": "", "HOME": "/home/x"}, "/home/x/.local/share/crmledger"),
        ({"CRMLEDGER_DATA_DIR": "relative", "XDG_DATA_HOME": "/xdg"}, f"{Path.cwd()}/relative"),
    ],
)
def test_where_the_data_go(variables: dict[str, str], expected: str) -> None:
    assert str(Settings.from_environment({**SERVER, **variables}).data_dir) == expected


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        settings(tmp_path, **SERVER).port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", SECRETS)
def test_fallbacks_follow_the_current_secret(tmp_path: Path, name: str) -> None:
    field = (
        name.removeprefix("CRMLEDGER_").lower().replace("key", "keys").replace("secret", "secrets")
    )
    more = ["f" * 32, "ω" * 16]
    assert getattr(settings(tmp_path, **SERVER), field) == (KEYS[name],)
    found = settings(tmp_path, **SERVER, **{f"{name}_FALLBACKS": " , ".join(more) + ","})
    assert getattr(found, field) == (KEYS[name], *more)
    assert not [secret for secret in more if secret in repr(found)]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["f" * 31, f"{'f' * 32},{'f' * 31}", "\udcff" * 32])
def test_a_bad_fallback_is_named_and_not_shown(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, **SERVER, **{f"{name}_FALLBACKS": value})
    assert str(caught.value).startswith(f"{name}_FALLBACKS: ")
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [f"{'f' * 32},{'g' * 32}", f" {'f' * 32}", f"{'f' * 32}\n"])
def test_a_secret_can_be_listed_as_a_fallback_later(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: must have no comma"):
        settings(tmp_path, **{**SERVER, name: value})


@pytest.mark.parametrize("value", ["0" * 63, "G" * 64, f"{'0' * 64} {'0' * 64}"])
def test_trusted_seal_keys_are_public_keys(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^CRMLEDGER_SEAL_KEYS: must be public keys"):
        settings(tmp_path, CRMLEDGER_SEAL_KEYS=value)
    found = settings(tmp_path, CRMLEDGER_SEAL_KEYS=f"{'0' * 64},{'f' * 64}")
    assert found.trusted_seal_keys == ("0" * 64, "f" * 64)
