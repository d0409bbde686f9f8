"""The relations that analysts query: all of the schema ``analytics``, with the meaning of each column.

Columns of contract fields come from the tables by which calls are answered. This module adds what the
contract does not define: the sources of the relations, and the columns that only analysts see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from domain.composite_fields import ItemSet
from domain.fields import Field, ResponseShape
from infra.analytics.columns import Column, SourceAlias, columns, nested_joins, quoted, record_join
from infra.analytics.events import EVENTS_FLAT
from infra.analytics.projected import PROJECTED_RELATIONS
from infra.analytics.reference_records import ORGANISATIONS, RECORDS
from infra.analytics.relation import ORGANISATION, PERSONAL_GRANT, Relation
from services.access_tokens.projection import ACCESS_TOKEN
from services.communications.projection import COMMUNICATION, QUEUE_ENTRY
from services.contacts.projection import CONTACT_INFORMATION
from services.service_requests.projection import SERVICE_REQUEST

__all__ = ["ENTITIES", "OBJECTS"]

_CHANGED = (
    "(SELECT e.position FROM ledger.events e WHERE e.organisation = v.organisation"
    " AND e.stream_id = v.id::uuid AND e.version = v.version)"
)
_POSITIONS = (
    Column("created_position", "bigint", "Position of its first event.", "v.created"),
    Column("changed_position", "bigint", "Position of its last event.", _CHANGED),
)
_DOCUMENT = SourceAlias("d")


@dataclass(frozen=True, slots=True)
class _Entity:
    """An entity that becomes one relation, and another one for each of its sets.

    ``table`` is the read model of its documents, ``indexed`` those of its columns that are fields as well:
    a condition on them uses an index. ``extra`` are further columns of it, ``overrides`` the SQL of columns
    that differ from the document, ``sets`` the relation of each set, ``excluded`` fields without a column.
    """

    shape: ResponseShape
    table: str
    description: str
    sets: Mapping[str, str]
    indexed: tuple[str, ...] = ("id", "life_cycle_state")
    extra: tuple[Column, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()


ENTITIES = (
    _Entity(
        COMMUNICATION,
        "communications",
        "Communications, one a row.",
        {"unrestricted_parameter_set": "communication_unrestricted_parameters"},
        ("id", "code", "life_cycle_state", "direction", "media", "contact_information", "category"),
    ),
    _Entity(
        QUEUE_ENTRY,
        "queue_entries",
        "The sending queue, one entry a row.",
        {},
        ("id", "life_cycle_state", "communication"),
        (
            Column("media", "text", "The communication's media.", "v.media"),
            Column("contact_information", "text", "Id of its contact.", "v.contact_information"),
        ),
    ),
    _Entity(
        ACCESS_TOKEN,
        "access_tokens",
        "Access tokens, one a row; no secrets.",
        {},
        ("id", "life_cycle_state", "classification", "accounts_receivable"),
        (
            Column(
                "associated",
                "boolean",
                "Whether an account or participant of it is neither terminated nor retired.",
                "v.associated",
            ),
        ),
        excluded=frozenset({"verification_code"}),
    ),
    _Entity(
        SERVICE_REQUEST,
        "service_requests",
        "Service requests, one a row.",
        {
            "services_set": "service_request_services",
            "physical_goods_set": "service_request_physical_goods",
            "related_service_requests_set": "service_request_relations",
        },
        (
            "id",
            "life_cycle_state",
            "accounts_receivable",
            "contact_information",
            "type",
            "category",
        ),
        (
            Column(
                "pending_acceptance",
                "boolean",
                "Whether its last answer still waits for the customer to accept it.",
                "v.pending_acceptance",
            ),
            Column(
                "due",
                "timestamp without time zone",
                "When it is expected to be completed, by the service's wall clock; null once it is.",
                "v.due",
            ),
        ),
    ),
    _Entity(
        CONTACT_INFORMATION,
        "contacts",
        "Contacts, one a row.",
        {
            "addresses_set": "contact_addresses",
            "phones_set": "contact_phones",
            "emails_set": "contact_emails",
            "relation_set": "contact_relations",
        },
        ("id", "type", "life_cycle_state"),
        # Of a person both orders are stored; the first name comes first here.
        overrides={"name": 'coalesce(v.document #>> \'{name,$name,0}\', "d"."name")'},
    ),
)
"""The entities that crmledger owns and analysts see."""


def _entity_relations(entity: _Entity) -> Iterator[Relation]:
    """Yield the relation of an entity, and those of its sets."""
    fields = [field for field in entity.shape.fields if field.key not in entity.excluded]
    expressions = {name: f"v.{quoted(name)}" for name in entity.indexed} | dict(entity.overrides)
    yield Relation(
        entity.table,
        entity.description,
        (
            ORGANISATION,
            *_override(columns(fields, _DOCUMENT), expressions),
            *entity.extra,
            *_POSITIONS,
        ),
        "\n".join(
            (
                f"views.{entity.table} v",
                record_join("v.document", "d", fields),
                *nested_joins(fields, _DOCUMENT),
                PERSONAL_GRANT,
            )
        ),
        ("created_position",),
        "changed_position",
    )
    for items in fields:
        if isinstance(items, ItemSet):
            yield _set_relation(entity, items)


def _set_relation(entity: _Entity, items: ItemSet) -> Relation:
    """Return the relation of a set: one item a row, with the id of its owner."""
    fields: tuple[Field, ...] = items.response_fields or items.fields
    source_alias = replace(_DOCUMENT, personal=items.personal)
    # The id of an item is generated, and so not personal.
    item_columns = [
        replace(column, personal=column.personal and column.name != "id")
        for column in columns(fields, source_alias)
    ]
    owner = Column("of", "text", f"Id of whose it is, in {entity.table}.", "v.id")
    place = Column("place", "bigint", "Its place in the set, from 1.", "s.place")
    elements = (
        f"json_array_elements(v.document -> '{items.key}') WITH ORDINALITY AS s (item, place)"
    )
    source = (
        f"views.{entity.table} v",
        f"CROSS JOIN LATERAL {elements}",
        record_join("s.item", "d", fields),
        PERSONAL_GRANT,
    )
    return Relation(
        entity.sets[items.key],
        f"The items of {items.key} in {entity.table}, one a row.",
        (ORGANISATION, owner, place, *item_columns, *_POSITIONS),
        "\n".join(source),
        ("created_position", "place"),
        "changed_position",
    )


def _override(generated: Iterable[Column], expressions: Mapping[str, str]) -> Iterator[Column]:
    for column in generated:
        yield (
            replace(column, sql=expressions[column.name]) if column.name in expressions else column
        )


OBJECTS: Mapping[str, Relation] = {
    relation.name: relation
    for relation in (
        *(relation for entity in ENTITIES for relation in _entity_relations(entity)),
        *PROJECTED_RELATIONS,
        EVENTS_FLAT,
        RECORDS,
        ORGANISATIONS,
    )
}
"""Every relation by name."""
