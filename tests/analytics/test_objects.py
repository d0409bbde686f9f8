"""The objects of analysts are what the field table says, in the database as in the dictionary."""

from __future__ import annotations

import asyncpg
import pytest

from domain.composite_fields import ItemSet, Object
from domain.fields import Field
from infra.analytics.columns import SourceAlias, columns
from infra.analytics.install import VIEWS, assert_deployed, deploy
from infra.analytics.relations import ENTITIES, OBJECTS
from infra.schema.migrate import MigrationError
from tests.fixtures.read_models import connection, populate, run_rebuild, run_rollback
from tests.fixtures.service import run_in_process

INSTALLED = """
SELECT c.relname AS object, obj_description(c.oid, 'pg_class') AS says, a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type, col_description(c.oid, a.attnum) AS comment
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'v')
 ORDER BY c.relname, a.attnum
"""
GRANTED = """
SELECT c.relname, c.relacl::text, pg_get_viewdef(c.oid) FROM pg_class c
 WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'v' ORDER BY 1
"""


async def installed(url: str) -> list[tuple[str, ...]]:
    async with connection(url) as asked:
        return [tuple(row) for row in await asked.fetch(INSTALLED)]


def declared() -> list[tuple[str, ...]]:
    return [
        (name, relation.description, column.name, column.type, column.comment)
        for name, relation in sorted(OBJECTS.items())
        for column in relation.columns
    ]


async def test_the_database_has_what_is_declared(database: str) -> None:
    assert sorted(await installed(database)) == sorted(declared())


def test_columns_are_named_once_and_fit_the_database() -> None:
    for relation in OBJECTS.values():
        names = [column.name for column in relation.columns]
        assert names[0] == "organisation"
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= 63
        assert {*relation.order, *filter(None, [relation.position])} <= {*names}


def leaves(rows: tuple[Field, ...]) -> list[Field]:
    """The fields that hold values, inside objects too."""
    return [
        leaf for row in rows for leaf in (leaves(row.fields) if isinstance(row, Object) else [row])
    ]


def test_no_field_is_left_out() -> None:
    """A kind of field that nobody has thought of here would be silently missing."""
    left = {
        row.key
        for entity in ENTITIES
        for row in leaves(entity.shape.fields)
        if not isinstance(row, ItemSet) and not list(columns((row,), SourceAlias("d")))
    }
    assert left == {"follow_up_set"}
    for entity in ENTITIES:
        sets = {row.key for row in entity.shape.fields if isinstance(row, ItemSet)}
        assert sets == set(entity.sets)


async def test_installing_again_changes_nothing(database: str) -> None:
    async with connection(database) as owner:
        assert await VIEWS.install(owner) is False
        assert await deploy(owner) == []


async def test_another_definition_is_replaced(database: str) -> None:
    async with connection(database) as owner:
        await owner.execute(
            "UPDATE schema_repeatables SET checksum = 'of an earlier build' WHERE name LIKE 'views%'"
        )
        await owner.execute("DROP VIEW analytics.contacts; CREATE VIEW analytics.gone AS SELECT 1")
        with pytest.raises(MigrationError, match="the views of analysts are not this code's"):
            await assert_deployed(owner)
        await deploy(owner)
        await assert_deployed(owner)
    assert sorted(await installed(database)) == sorted(declared())


async def test_a_migration_can_take_them_down(database: str) -> None:
    async with connection(database) as owner:
        await owner.execute(
            "SELECT analytics.drop_relations(); ALTER TABLE views.contacts ALTER created TYPE numeric"
        )
        assert not await VIEWS.is_installed(owner)
        await deploy(owner)
    assert sorted(await installed(database)) == sorted(declared())


async def test_what_was_built_on_them_is_not_torn_down(database: str) -> None:
    async with connection(database) as owner:
        await owner.execute("CREATE VIEW mine AS SELECT id FROM analytics.contacts")
        await owner.execute(
            "UPDATE schema_repeatables SET checksum = 'of an earlier build' WHERE name LIKE 'views%'"
        )
        with pytest.raises(MigrationError, match="view mine depends on view analytics"):
            await deploy(owner)
        await owner.execute("DROP VIEW mine")
        await deploy(owner)


async def rows(asked: asyncpg.Connection) -> dict[str, list[str]]:
    """Every row of the views, as text."""
    return {
        name: [
            r[0] for r in await asked.fetch(f"SELECT t::text FROM analytics.{name} t ORDER BY 1")
        ]
        for name, relation in OBJECTS.items()
        if relation.source
    }


async def test_a_rebuild_of_the_views_leaves_them_as_they_were(database: str) -> None:
    async with run_in_process(database) as running:
        await populate(running)
    async with connection(database) as asked:
        before = await rows(asked), await asked.fetch(GRANTED), await asked.fetch(INSTALLED)
        assert all(before[0][name] for name in ("communications", "contact_phones", "records"))
        for switch in (run_rebuild, run_rollback, run_rebuild):
            await switch(database)
            after = await rows(asked), await asked.fetch(GRANTED), await asked.fetch(INSTALLED)
            assert after == before
        bound = await asked.fetchval(
            "SELECT count(*) FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid"
            " WHERE d.classid = 'pg_rewrite'::regclass AND t.relnamespace::regnamespace::text LIKE 'views\\__%'"
        )
        assert bound == 0
