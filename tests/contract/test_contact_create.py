from tests.service import Api
from tests.world import world, untouched, person

async def test_creates(api: Api) -> None:
    w = await world(api)
    c = await w.create()
    async with untouched(api):
        assert await api.refused("contact_information/create", type="X") == ("INVALIDPARAMETERVALUE", "type")
    print(await w.show(c["id"]))
