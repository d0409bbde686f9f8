"""A description of this build, read from the registries that the service itself runs on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import services.registry  # noqa: F401 (fills the registries)
from domain.aggregate import AGGREGATES, EVENTS
from infra.projections.sql_projections import ANALYTICS
from infra.schema.migrate import available
from infra.settings import HIDDEN, SECRETS, Settings
from services.pipeline.method import METHODS
from services.projection_versions import VERSIONS

__all__ = ["build_info"]


def build_info(settings: Settings, env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The build and its settings as a JSON document, without secrets.

    :param env: the variables that the settings were read from.
    """
    return {
        "version": version("crmledger"),
        "methods": [
            {"number": method.number, "verb": method.verb, "path": method.path}
            for method in sorted(METHODS.values(), key=lambda method: method.number)
        ],
        "events": {topic: _versions(topic) for topic in sorted(AGGREGATES) if _versions(topic)},
        "schema": [str(migration) for migration in available()],
        "views": {f"views.{name}": number for name, number in VERSIONS.items()}
        | {f"analytics.{name}": view.version for name, view in ANALYTICS.items()},
        "settings": [_setting(settings, *names, env) for names in _names()],
    }


def _versions(aggregate: str) -> dict[str, int]:
    """The events of an aggregate with their schema versions."""
    topics = (topic for topic in EVENTS if topic.partition(".")[0] == aggregate)
    return {topic.partition(".")[2]: EVENTS[topic].SCHEMA for topic in sorted(topics)}


def _names() -> list[tuple[str, str]]:
    """The field and the variable of each setting."""
    fields, variables = Settings.__struct_fields__, Settings.__struct_encode_fields__
    return list(zip(fields, variables, strict=True))


def _setting(
    settings: Settings, field: str, variable: str, env: Mapping[str, str]
) -> dict[str, Any]:
    """The value of a setting and its source: environment, data folder or default."""
    value = getattr(settings, field)
    unset = "data folder" if variable in SECRETS else "default"
    source = "environment" if env.get(variable) else unset
    text = "(hidden)" if field in HIDDEN and value is not None else value
    return {"name": variable, "value": text if text is None else str(text), "source": source}
