"""The demo organisation CRMDEMO: a telecom company with which every method can be tried at once.

The data are JSON Lines: UTF-8, one strict JSON record a line. The files are applied in the order of
their names, the lines of a file in their order, because a link may only point to an earlier record.

    10-organisation.jsonl    the organisation and its settings, communities, groups, units, users,
                             web API keys, privacy levels
    20-countries.jsonl       the countries of ISO 3166-1 with their dialing codes
    30-setup.jsonl           what communications, contacts, access tokens and service requests choose from
    40-contacts.jsonl        persons and companies
    50-customers.jsonl       accounts, subscriptions, bills, payments, rewards, products and the like
    60-communications.jsonl  communications: sent, drafted, received
    70-service.jsonl         what happens then: queue entries sent and not sent, access tokens, service requests

Files 10, 20, 30 and 50 hold records of the import command: ``{"kind", "id", <fields>, <links>}``. They
have no ``organisation`` member; the loader adds it to all but the first one, which is the organisation.
A line of file 40 is ``{"alias", "body"}`` and of file 60 ``{"body"}``: the body of a
``contact_information/create`` or ``communications/create`` call without its token; of file 70 it is
``{"path", "body"}`` of any call, with an ``alias`` where later lines need its answer.

Contacts get their ids only when they are created. Therefore, from file 40 on, a string that consists of
``@`` and the alias of an earlier contact or answer, at any depth of a record or body, stands for its id, and
one that goes on with ``.`` and a name for that text of the answer. No other string begins with ``@``.

Registered ids are fixed, so loading files 10, 20, 30 and 50 again changes nothing. The create calls are
not idempotent: every contact has an ``id_number`` (person) or ``vat_registration_number`` (company) of
its own by which a loader finds it instead of creating it twice; what files 60 and 70 do is done only once.

No secret is shipped: users come without ``password`` and web API keys without ``key``; the loader
generates them at the first run, and the pass code that ``@secret`` stands for, which nobody is told. The organisation's setting ``consumer_username`` names a user that
a later line of the same file registers.

Meant to be tried on: accounts in each state and contacts without an account; contacts related to an
account's owner, and one that is not; a template that is not effective and one for some units only;
access token classifications with verification, without identifier, with automatic pass code and with
automatic identifier; service request types with and without lists of what they allow, announced by mail,
by SMS or not at all; products of both classifications, an item under warranty and items that are not.
"""
