"""What an operator can set: environment variables in, one checked and frozen `Settings` out.

The field `port` is the variable `CRMLEDGER_PORT`, and so on; only `DATABASE_URL` goes by its common name.
An empty variable counts as absent, because compose files pass `VAR=` for what is not set.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["Network", "Settings", "SettingsError"]

SECRETS = ("CRMLEDGER_TOKEN_SECRET", "CRMLEDGER_SERVICE_KEY", "CRMLEDGER_OPERATOR_KEY")
SECRET_BYTES = 32
HIDDEN = frozenset({"database_url", "replica_url", "token_secret", "service_key", "operator_key"})

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Web = Annotated[str, msgspec.Meta(pattern="^https?://")]
Network = IPv4Network | IPv6Network


class SettingsError(ValueError):
    """A variable is missing or wrong; the message begins with its name and never shows its value."""


def _variable(field: str) -> str:
    return "DATABASE_URL" if field == "database_url" else f"CRMLEDGER_{field.upper()}"


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_variable
):
    """The service's settings; secrets and the database's URL are left out of its repr."""

    data_dir: Path
    """What the service keeps on this machine: generated secrets and the embedded database."""
    token_secret: str
    """Signs session tokens; at least 32 bytes as UTF-8, as are the two keys below."""
    service_key: str
    """Wraps the keys of personal data."""
    operator_key: str
    """Opens the operator's own methods."""
    database_url: str | None = None
    """None: the embedded PostgreSQL."""
    replica_url: str | None = None
    """A streaming replica, for reads whose callers allow them to be old; None: there is none."""
    replica_staleness: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 5
    """The most seconds by which it may be behind for anybody."""
    host: Text = "127.0.0.1"
    """Address to listen on, of both ports."""
    port: Port = 8080
    """Of the Web API; 0 is any free one."""
    share_port: bool = False
    """Whether other processes listen on that port, too; the system deals connections out to them."""
    admin_port: Port = 8081
    """Of health and metrics; 0 is any free one."""
    time_zone: Text = "Asia/Nicosia"
    """IANA name of the zone in which dates without a zone are meant."""
    rate_limit: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    """Calls per second and session; None: no limit."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    """Connections for reading, per process."""

    seal_seconds: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 60
    """Age at which an event is sealed; 0: this process seals nothing."""
    traces_url: Web | None = None
    """Where spans are sent, as OTLP over HTTP; None: nowhere."""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0
    """How long a process that was told to stop goes on answering while it says that it leaves."""
    public_url: Web | None = None
    """The address of the API as consumers of webhooks reach it; None: they are told paths only."""
    webhook_networks: str = ""
    """Networks that webhooks may reach though they are private, separated by commas."""

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
            if name not in HIDDEN
        )
        return f"Settings({', '.join(shown)})"

    __str__ = __repr__

    @property
    def reachable_networks(self) -> tuple[Network, ...]:
        """The networks of `webhook_networks`. Raises ``ValueError`` for what is none."""
        return tuple(
            ip_network(part.strip()) for part in self.webhook_networks.split(",") if part.strip()
        )

    @property
    def embedded(self) -> bool:
        """Whether the service starts its own PostgreSQL."""
        return self.database_url is None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """The settings of this process.

        With the embedded database, secrets that are not set are generated once into the data folder.

        :param env: variables by name; those of other programs are ignored.
        :raises SettingsError: a variable is wrong, or a secret is not set though DATABASE_URL is.
        """
        known = map(_variable, cls.__struct_fields__)
        given: dict[str, str] = {name: env[name] for name in known if env.get(name)}
        data_dir = (
            Path(given["CRMLEDGER_DATA_DIR"])
            if "CRMLEDGER_DATA_DIR" in given
            else _default_data_dir(env)
        )
        given["CRMLEDGER_DATA_DIR"] = str(_absolute(data_dir))
        for name in SECRETS:
            given[name] = _secret(name, given)
        settings = _converted(given)
        _check(settings)
        return settings


def _converted(given: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(
            given, Settings, strict=False, dec_hook=lambda kind, text: kind(text)
        )
    except msgspec.ValidationError as error:
        fault, _, path = str(error).partition(" - at `$.")
        raise SettingsError(f"{path.rstrip('`')}: {fault[:1].lower()}{fault[1:]}") from None


def _check(settings: Settings) -> None:
    """What the types cannot say."""
    urls = {"DATABASE_URL": settings.database_url, "CRMLEDGER_REPLICA_URL": settings.replica_url}
    for name, url in urls.items():
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise SettingsError(f"{name}: expected postgresql://USER@HOST/DATABASE")
    if settings.port == settings.admin_port != 0:
        raise SettingsError("CRMLEDGER_ADMIN_PORT: must differ from CRMLEDGER_PORT")
    try:
        _ = settings.reachable_networks
    except ValueError:
        raise SettingsError(
            "CRMLEDGER_WEBHOOK_NETWORKS: expected networks such as 10.0.0.0/8,fd00::/8"
        ) from None
    try:
        ZoneInfo(settings.time_zone)
    except (ValueError, OSError, LookupError):
        raise SettingsError(
            "CRMLEDGER_TIME_ZONE: expected an IANA time zone such as Asia/Nicosia"
        ) from None


def _default_data_dir(env: Mapping[str, str]) -> Path:
    # The XDG specification has relative paths ignored.
    base = Path(env.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():
        base = (Path(env["HOME"]) if env.get("HOME") else Path("~")) / ".local" / "share"
    return base / "crmledger"


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise SettingsError(
            "CRMLEDGER_DATA_DIR: must be set, since this user has no home"
        ) from None


def _secret(name: str, given: Mapping[str, str]) -> str:
    if name in given:
        text = given[name]
    elif "DATABASE_URL" in given:
        raise SettingsError(
            f"{name}: must be set (a text of at least {SECRET_BYTES} bytes) when DATABASE_URL is set"
        )
    else:
        text = _generated(Path(given["CRMLEDGER_DATA_DIR"]), name)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise SettingsError(f"{name}: must be UTF-8") from None
    if size < SECRET_BYTES:
        raise SettingsError(f"{name}: must have at least {SECRET_BYTES} bytes")
    return text


def _generated(data_dir: Path, name: str) -> str:
    """The secret kept in the data folder, made on first use; of two programs that make it at once, one wins."""
    folder = data_dir / "secrets"
    kept = folder / name.removeprefix("CRMLEDGER_").lower()
    try:
        # Not 0700: the embedded server may run as another user, and only its own folder below is for it.
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        if not kept.exists():
            _write_once(kept, secrets.token_urlsafe(48))
        return kept.read_text(encoding="utf-8").strip()
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        raise SettingsError(f"CRMLEDGER_DATA_DIR: cannot keep {name} there ({reason})") from error


def _write_once(path: Path, text: str) -> None:
    """Make a file of mode 0600 that is either absent or whole, also after a power failure."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
