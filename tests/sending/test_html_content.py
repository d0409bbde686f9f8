"""HTML content: what is inserted is shown as it is, and there is a text for readers without HTML."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.template_tags import inserted_values, resolve
from infra.delivery.html_content import escape_values, text_alternative

VALUES = {
    "name": "<a href=http://x>Ada</a>",
    "plain": "Ada",
    "quote": "\"'&",
    "tag": "<#t.name>",
    "none": "",
}
CONTENTS = st.lists(
    st.sampled_from(
        [*(f"#t.{name}" for name in (*VALUES, "unknown")), " ", "<b>", "&amp;", "#t", "."]
    )
).map("".join)


def value_of(entity: str, field: str) -> str | None:
    return VALUES.get(field)


def escaped_value_of(entity: str, field: str) -> str | None:
    value = VALUES.get(field)
    return None if value is None else escape(value)


def rendered(text: str, values: Callable[[str, str], str | None]) -> str:
    result = resolve(text, values, 10**6)
    assert result is not None
    return result


@given(CONTENTS)
def test_inserted_values_are_escaped_and_nothing_else_is(content: str) -> None:
    stored = rendered(content, value_of)
    places = inserted_values(content, value_of, ())
    assert escape_values(stored, places) == rendered(content, escaped_value_of)


@given(CONTENTS)
def test_values_that_are_inserted_later_join_the_earlier_ones(content: str) -> None:
    def late(entity: str, field: str) -> str | None:
        return "<late>" if field == "unknown" else None

    stored = rendered(content, value_of)
    places = inserted_values(stored, late, inserted_values(content, value_of, ()))
    assert escape_values(rendered(stored, late), places) == rendered(
        rendered(content, escaped_value_of), lambda *tag: late(*tag) and escape("<late>")
    )


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Hello", "Hello"),
        ("<p>Hello <b>Ada</b>,</p><p>1 &lt; 2 &amp; 3</p>", "Hello Ada,\n\n1 < 2 & 3"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<ul><li>1</li><li>2</li></ul>", "1\n\n2"),
        (
            'See <a class="x" href="https://a/?b=1&amp;c=2">here</a>.',
            "See here (https://a/?b=1&c=2).",
        ),
        ("<a href='mailto:a@b'>a@b</a> <a name=x>y</a>", "a@b y"),
        ("<head><title>T</title></head><style>p{}</style><script>x<y</script>z", "z"),
        ("<header>a</header><!-- b > c -->d", "ad"),
        ("a\n  b\tc", "a b c"),
        ("1 < 2 > 0, a<3", "1 < 2 > 0, a<3"),
        ("&lt;script&gt;", "<script>"),
        ("<p", "<p"),
        ("<!-- never ends <b>x", ""),
    ],
)
def test_text_alternatives(html: str, text: str) -> None:
    assert text_alternative(html) == text


@pytest.mark.parametrize(
    "piece", ["<a ", "<a href='", "<!--", "<script", "<", "<a \thref", "</a>", "&"]
)
def test_an_alternative_of_any_content_is_made_in_one_pass(piece: str) -> None:
    assert len(text_alternative(piece * 20_000)) <= 20_000 * len(piece)
