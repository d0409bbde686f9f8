"""Methods 18 to 24: contact information and profile photos (contract contact_information.md)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from domain.composite_fields import Reference
from domain.contact_addresses import normalise_email
from domain.contact_fields import COMPANY_NAME, MARKETING, PASSIVE, PERSON_NAME, PROFILES, SETS, UDF
from domain.contact_information import ContactInformation
from domain.errors import InvalidParameterValue, MandatoryParameter
from domain.fields import (
    Field,
    JsonObject,
    Level,
    Parameters,
    ParameterSpec,
    mandatory,
    not_null,
    when,
)
from domain.identifiers import normalised
from domain.phone_numbers import search_key
from domain.reference.catalogue import identifiable
from domain.scalar_fields import IDENTIFYING, Text
from services.contacts.projection import (
    COMPACT_CONTACT,
    CONTACT_INFORMATION,
    CONTACT_TYPE,
    NO_PHOTO,
    PHOTO,
)
from services.contacts.sets import apply_items, first_entries
from services.context import ViewQuery
from services.ids import format_id
from services.pipeline.method import command, create, query
from services.pipeline.paging import PAGING, page
from services.pipeline.request import Call, File, Upload
from services.side_effects import DropPhoto, StorePhoto

CONTACT = Reference(name="contact_information", target=identifiable("contact_information"))
FOREIGN = {
    "PERSON": frozenset({"company_name", "company_profile"}),
    "COMPANY": frozenset({field.name for field in PERSON_NAME} | {"demographics"}),
}
"""The fields that a contact of a type does not have."""

NEEDED = frozenset({"first_name", "last_name", "company_name"})
MATERIALS = {field.name: field.name.split("_")[1] for field in MARKETING}

NUMBERS = ("id_number", "passport_number", "social_security_number", "vat_registration_number")
SEARCHED = (*NUMBERS, "email_address", "phone_number")


def _level_by_type(name: str) -> Callable[[JsonObject], Level]:
    """The rule for a field of one type: names are mandatory, and fields of the other not applicable."""

    def level(params: JsonObject) -> Level:
        if name in FOREIGN[params["type"]]:
            return Level.NOT_APPLICABLE
        return Level.MANDATORY if name in NEEDED else Level.OPTIONAL

    return level


def _with_level(field: Field) -> ParameterSpec:
    typed = any(field.name in names for names in FOREIGN.values())
    return when(field, _level_by_type(field.name)) if typed else field


TITLE, FIRST_NAME, MIDDLE_NAME, LAST_NAME = PERSON_NAME
NAMES: tuple[Field, ...] = (FIRST_NAME, LAST_NAME, MIDDLE_NAME, TITLE, COMPANY_NAME)
FIELDS: tuple[Field, ...] = (*NAMES, *PASSIVE, *MARKETING, *UDF, *PROFILES)
DETAILS = tuple(field.name for field in FIELDS if field.name not in MATERIALS)

CREATE = Parameters(mandatory(CONTACT_TYPE), *map(_with_level, FIELDS), *SETS.values())
UPDATE = Parameters(
    mandatory(CONTACT),
    *(not_null(field) if field.name == "owned_by_group" else field for field in FIELDS),
    *(items.for_update() for items in SETS.values()),
)
IDENTIFIED = Parameters(mandatory(CONTACT))
LIST = Parameters(
    *(Text(name=name, max_length=IDENTIFYING) for name in SEARCHED), *PAGING, at_least_one=SEARCHED
)


@query(
    18,
    "contact_information/show",
    IDENTIFIED,
    CONTACT_INFORMATION,
    open_to_consumers=True,
    prefetch_from="contacts",
)
def show(call: Call) -> ViewQuery:
    """Shows one contact."""
    return ViewQuery("contacts", {"id": call.params["contact_information"]})


@query(19, "contact_information/list", LIST, CONTACT_INFORMATION, is_list=True)
def list_(call: Call) -> ViewQuery:
    """Lists the contacts that match all given numbers, e-mail address and phone number."""
    params = {name: value for name in SEARCHED if (value := call.params.get(name)) is not None}
    where: JsonObject = {name: normalised(name, params[name]) for name in NUMBERS if name in params}
    if "email_address" in params:
        where["emails"] = [normalise_email(params["email_address"])]
    if "phone_number" in params:
        where["phones"] = [search_key(params["phone_number"])]
    return page("contacts", where, call.params)


@create(
    20,
    "contact_information/create",
    CREATE,
    COMPACT_CONTACT,
    answer_with="compact",
    sequences=("contact_information",),
)
def create_(call: Call) -> list[ContactInformation]:
    """Registers a contact."""
    params, id_ = call.params, call.new_id()
    contact = ContactInformation.create(
        ContactInformation.Registered,
        call.actor,
        id=id_,
        number=f"CI{call.next_number('contact_information'):06d}",
        type=params["type"],
        details=_details(call),
        sets=first_entries(call, id_, params),
    )
    _decide_marketing(contact, call)
    return [contact]


@command(
    21,
    "contact_information/update",
    UPDATE,
    CONTACT_INFORMATION,
    open_to_consumers=True,
    identified_by=(CONTACT,),
)
def update(contact: ContactInformation, call: Call) -> None:
    """Changes a contact and its addresses, phones, emails and relations."""
    params = _applicable_params(contact.type, call.params)
    if params.get("notes"):
        former = contact.details.get("notes")
        params["notes"] = "\n".join(filter(None, (former, with_author_note(call, params["notes"]))))
    contact.amend({name: params[name] for name in DETAILS if name in params}, call.actor)
    _decide_marketing(contact, call)
    apply_items(contact, call)


@query(22, "contact_information/profile_photo/view", IDENTIFIED, PHOTO, open_to_consumers=True)
def view_photo(call: Call) -> tuple[str, bytes]:
    """Shows where the profile photo of a contact is found."""
    return f"profile_photo/{call.params['contact_information']}", NO_PHOTO


@command(
    23,
    "contact_information/profile_photo/add",
    Parameters(mandatory(CONTACT), mandatory(File(name="file"))),
    PHOTO,
    answer_with="photo",
    multipart=True,
    open_to_consumers=True,
    identified_by=(CONTACT,),
)
def add_photo(contact: ContactInformation, call: Call) -> None:
    """Gives a contact a profile photo in place of the former one."""
    file: Upload = call.params["file"]
    photo = {"id": call.new_id_text(), "file_name": file.file_name, "mime_type": file.mime_type}
    contact.add_photo(photo, file.content, call.actor)
    id_, content = format_id(contact.id), b64encode(file.content).decode()
    photos = [DropPhoto(id_), StorePhoto(**photo, contact=id_, content=content)]
    call.side_effects.extend(photos)


@command(
    24,
    "contact_information/profile_photo/remove",
    IDENTIFIED,
    None,
    answer_with="nothing",
    fields_set=False,
    open_to_consumers=True,
    identified_by=(CONTACT,),
)
def remove_photo(contact: ContactInformation, call: Call) -> None:
    """Removes the profile photo of a contact, if it has one."""
    if contact.photo:
        contact.raise_event(contact.ProfilePhotoRemoved, call.actor)
        call.side_effects.append(DropPhoto(format_id(contact.id)))


def _details(call: Call) -> JsonObject:
    """The details of a new contact."""
    details = {name: value for name in DETAILS if (value := call.params.get(name)) is not None}
    details.setdefault("owned_by_group", call.default_group)
    details.setdefault("preferred_language", call.settings.get("default_language"))
    if "notes" in details:
        details["notes"] = with_author_note(call, details["notes"])
    return details


def with_author_note(call: Call, text: str) -> str:
    """``text`` as notes are stored: author and time, then the text (section 8)."""
    person = call.directory.fields("user", call.session.user).get("person_name") or ""
    at = call.actor.at.astimezone(call.zone)
    return f"{person} {at.day}/{at.month}/{at:%Y %H:%M:%S} {text}".lstrip()


def _applicable_params(type_: str, params: JsonObject) -> JsonObject:
    """The given values of fields that a contact of this type has. Raises as section 7 says."""
    for name, value in params.items():
        if name in FOREIGN[type_] and value is not None:
            raise InvalidParameterValue(name)
        if name in NEEDED - FOREIGN[type_] and not (value or "").strip():
            raise MandatoryParameter(name)
    return {name: value for name, value in params.items() if name not in FOREIGN[type_]}


def _decide_marketing(contact: ContactInformation, call: Call) -> None:
    for name, material in MATERIALS.items():
        if name in call.params:
            contact.decide_marketing(material, call.params[name], call.actor)
