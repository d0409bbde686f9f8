"""The settings of a process: environment variables in, one checked and frozen `Settings` out.

The field `port` is the variable `CRMLEDGER_PORT`, and so on; only `DATABASE_URL` goes by its common name.
An empty variable counts as absent, because compose files pass `VAR=` for what is not set.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["Network", "Settings", "SettingsError"]

SECRETS = ("CRMLEDGER_TOKEN_SECRET", "CRMLEDGER_SERVICE_KEY", "CRMLEDGER_OPERATOR_KEY")
SECRET_BYTES = 32
PUBLIC_KEY = "[0-9a-f]{64}"
HIDDEN = frozenset({"database_url", "replica_url"}).union(
    *({name, f"{name}_fallbacks"} for name in ("token_secret", "service_key", "operator_key"))
)

Port = Annotated[int, msgspec.Meta(ge=0, le=65535, description="a number from 0 to 65535")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400, description="a number from 0 to 86400")]
Text = Annotated[str, msgspec.Meta(min_length=1, description="a text")]
Web = Annotated[str, msgspec.Meta(pattern="^https?://", description="an http:// or https:// URL")]
Flag = Annotated[bool, msgspec.Meta(description="true or false")]
Network = IPv4Network | IPv6Network


class SettingsError(ValueError):
    """A variable is missing or wrong; the message begins with its name and never shows a secret."""


def _variable(field: str) -> str:
    return "DATABASE_URL" if field == "database_url" else f"CRMLEDGER_{field.upper()}"


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_variable
):
    """The service's settings; secrets and the database's URL are left out of its repr."""

    data_dir: Path
    """Where the service keeps generated secrets and the embedded database."""
    token_secret: str
    """Signs session tokens; at least 32 bytes as UTF-8, as are the two keys below."""
    service_key: str
    """Wraps the keys of personal data."""
    operator_key: str
    """Opens the operator's own methods."""
    token_secret_fallbacks: str = ""
    """Further secrets whose tokens are valid, separated by commas, as are the two below: a former or a next one."""
    service_key_fallbacks: str = ""
    """Further keys that decrypt what they have encrypted."""
    operator_key_fallbacks: str = ""
    """Further keys that open the operator's own methods."""
    seal_keys: str = ""
    """Public keys of former service keys whose seals are trusted, separated by commas."""
    database_url: str | None = None
    """None: the embedded PostgreSQL."""
    replica_url: str | None = None
    """A streaming replica for reads that may be stale; None: no replica."""
    replica_staleness: Seconds = 5
    """The greatest lag of the replica in seconds that any caller gets."""
    host: Text = "127.0.0.1"
    """The address that both ports listen on."""
    port: Port = 8080
    """Of the Web API; 0 is any free one."""
    share_port: Flag = False
    """True if other processes listen on `port`, too: the system distributes connections among them."""
    admin_port: Port = 8081
    """Of health and metrics; 0 is any free one."""
    time_zone: Text = "Asia/Nicosia"
    """IANA name of the service time zone: that of dates without one."""
    rate_limit: (
        Annotated[
            float, msgspec.Meta(gt=0, le=1e6, description="a number above 0, at most 1000000")
        ]
        | None
    ) = None
    """Calls per second and session; None: no limit."""
    connections: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="a number from 1 to 1000")
    ] = 4
    """Connections for reading, per process."""
    client_connections: Annotated[
        int, msgspec.Meta(ge=0, le=1_000_000, description="a number from 0 to 1000000")
    ] = 0
    """Connections of clients, per process; 0: half of the files that it may open, at most 10,000."""
    client_connections_per_address: Annotated[
        int, msgspec.Meta(ge=1, le=1_000_000, description="a number from 1 to 1000000")
    ] = 1000
    """The same from one address that is no trusted proxy; of IPv6 one network of 64 bits."""
    header_timeout: Seconds = 10
    """Seconds within which the headers of a connection's first request must have arrived."""
    idle_timeout: Seconds = 75
    """Seconds that a connection may wait for another request: longer than reverse proxies keep theirs."""
    body_megabytes: Annotated[
        int, msgspec.Meta(ge=1, le=100_000, description="a number from 1 to 100000")
    ] = 64
    """Memory for bodies under way beyond the first 64 KiB of each, per process, in MiB."""
    seal_seconds: Seconds = 60
    """Age at which an event is sealed; 0: this process seals nothing."""
    traces_url: Web | None = None
    """Where spans are sent, as OTLP over HTTP; None: nowhere."""
    drain_seconds: Annotated[
        float, msgspec.Meta(ge=0, le=600, description="a number from 0 to 600")
    ] = 0
    """Shutdown grace period: how long a stopping process still takes calls while it is not ready."""
    public_url: Web | None = None
    """The address of the API as consumers of webhooks reach it; None: links in messages are paths."""
    webhook_networks: str = ""
    """Private networks that webhooks may reach, separated by commas."""
    trusted_proxies: str = ""
    """Networks of the proxies that may name a caller's address, separated by commas."""

    def __repr__(self) -> str:
        fields = (
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
            if name not in HIDDEN
        )
        return f"Settings({', '.join(fields)})"

    __str__ = __repr__

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """The secrets whose tokens are valid; the first signs."""
        return (self.token_secret, *_parts(self.token_secret_fallbacks))

    @property
    def service_keys(self) -> tuple[str, ...]:
        """The service keys that read what is stored; the first writes."""
        return (self.service_key, *_parts(self.service_key_fallbacks))

    @property
    def operator_keys(self) -> tuple[str, ...]:
        """The operator keys, each as good as the other."""
        return (self.operator_key, *_parts(self.operator_key_fallbacks))

    @property
    def reachable_networks(self) -> tuple[Network, ...]:
        """The networks of `webhook_networks`. Raises ``ValueError`` if one is malformed."""
        return _networks(self.webhook_networks)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of `trusted_proxies`. Raises ``ValueError`` if one is malformed."""
        return _networks(self.trusted_proxies)

    @property
    def trusted_seal_keys(self) -> tuple[str, ...]:
        """The public keys of `seal_keys`."""
        return _parts(self.seal_keys)

    @property
    def embedded(self) -> bool:
        """True if the service starts its own PostgreSQL."""
        return self.database_url is None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """The settings of this process.

        With the embedded database, secrets that are not set are generated once into the data folder.

        :param env: variables by name; those of other programs are ignored.
        :raises SettingsError: a variable is wrong, or a secret is not set though DATABASE_URL is.
        """
        known = map(_variable, cls.__struct_fields__)
        variables: dict[str, str] = {name: env[name] for name in known if env.get(name)}
        data_dir = (
            Path(variables["CRMLEDGER_DATA_DIR"])
            if "CRMLEDGER_DATA_DIR" in variables
            else _default_data_dir(env)
        )
        variables["CRMLEDGER_DATA_DIR"] = str(_absolute(data_dir))
        for name in SECRETS:
            variables[name] = _secret(name, variables)
        settings = _parse(variables)
        _check(settings)
        return settings


def _parts(text: str) -> tuple[str, ...]:
    """The parts of a list that commas separate."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[Network, ...]:
    """The networks of a list. Raises ``ValueError`` if one is malformed."""
    return tuple(map(ip_network, _parts(text)))


def _parse(variables: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(
            variables, Settings, strict=False, dec_hook=lambda kind, text: kind(text)
        )
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        raise SettingsError(f"{name}: must be {_expected(name)}, got {variables[name]!r}") from None


def _expected(name: str) -> str:
    """The description of a variable's type."""
    hints = get_type_hints(Settings, include_extras=True)
    field = dict(zip(Settings.__struct_encode_fields__, Settings.__struct_fields__, strict=True))
    return next(_descriptions(hints[field[name]]))


def _descriptions(hint: Any) -> Iterator[str]:
    for part in get_args(hint):
        if isinstance(part, msgspec.Meta) and part.description:
            yield part.description
        yield from _descriptions(part)


def _check(settings: Settings) -> None:
    """Check what the types cannot express."""
    urls = {"DATABASE_URL": settings.database_url, "CRMLEDGER_REPLICA_URL": settings.replica_url}
    for name, url in urls.items():
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise SettingsError(f"{name}: must be postgresql://USER@HOST/DATABASE")
    for name, fallbacks in (
        ("TOKEN_SECRET", settings.token_secrets[1:]),
        ("SERVICE_KEY", settings.service_keys[1:]),
        ("OPERATOR_KEY", settings.operator_keys[1:]),
    ):
        for fallback in fallbacks:
            _check_secret(f"CRMLEDGER_{name}_FALLBACKS", fallback)
    if not all(re.fullmatch(PUBLIC_KEY, key) for key in settings.trusted_seal_keys):
        raise SettingsError(
            "CRMLEDGER_SEAL_KEYS: must be public keys as `crmledger audit public-key` prints them,"
            f" got {settings.seal_keys!r}"
        )
    if settings.port == settings.admin_port != 0:
        raise SettingsError("CRMLEDGER_ADMIN_PORT: must differ from CRMLEDGER_PORT")
    for name, networks in (
        ("WEBHOOK_NETWORKS", settings.webhook_networks),
        ("TRUSTED_PROXIES", settings.trusted_proxies),
    ):
        try:
            _networks(networks)
        except ValueError:
            raise SettingsError(
                f"CRMLEDGER_{name}: must be networks such as 10.0.0.0/8,fd00::/8, got {networks!r}"
            ) from None
    try:
        ZoneInfo(settings.time_zone)
    except (ValueError, OSError, LookupError):
        raise SettingsError(
            "CRMLEDGER_TIME_ZONE: must be an IANA time zone such as Asia/Nicosia,"
            f" got {settings.time_zone!r}"
        ) from None


def _default_data_dir(env: Mapping[str, str]) -> Path:
    # The XDG specification: relative paths are ignored.
    base = Path(env.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():
        base = (Path(env["HOME"]) if env.get("HOME") else Path("~")) / ".local" / "share"
    return base / "crmledger"


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise SettingsError(
            "CRMLEDGER_DATA_DIR: must be set: this user has no home directory"
        ) from None


def _secret(name: str, variables: Mapping[str, str]) -> str:
    if name in variables:
        text = variables[name]
    elif "DATABASE_URL" in variables:
        raise SettingsError(
            f"{name}: must be set (a text of at least {SECRET_BYTES} bytes) when DATABASE_URL is set"
        )
    else:
        text = _generated_secret(Path(variables["CRMLEDGER_DATA_DIR"]), name)
    _check_secret(name, text)
    return text


def _check_secret(name: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise SettingsError(f"{name}: must be UTF-8") from None
    if size < SECRET_BYTES:
        raise SettingsError(f"{name}: must have at least {SECRET_BYTES} bytes")
    if "," in text or text != text.strip():
        # It could not be listed among the fallbacks later.
        raise SettingsError(f"{name}: must have no comma, and no space at either end")


def _generated_secret(data_dir: Path, name: str) -> str:
    """The secret in the data folder, generated on first use; of two programs that do so at once, one wins."""
    folder = data_dir / "secrets"
    path = folder / name.removeprefix("CRMLEDGER_").lower()
    try:
        # Not 0700: the embedded server may run as another user, and must reach its own folder below.
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        raise SettingsError(f"CRMLEDGER_DATA_DIR: cannot keep {name} there ({reason})") from error


def _write_once(path: Path, text: str) -> None:
    """Write a file of mode 0600 that is either absent or complete, even after a power failure."""
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
