import io
import re

import javaproperties
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.properties import Property, parse_properties


def pairs(data: bytes) -> list[tuple[str, str]]:
    return [(pair.key, pair.value) for pair in parse_properties(data).properties]


def test_all_three_separators_and_none_at_all() -> None:
    assert pairs(b"a=1\nb: 2\nc 3\nd\n") == [("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]


def test_comments_and_blank_lines_count_as_lines_and_say_nothing() -> None:
    parsed = parse_properties(b"# one\n! two\n\n   \n  a=1 # not a comment\n")
    assert parsed.properties == (Property("a", "1 # not a comment", 5),)


def test_a_continued_line_is_one_value_that_is_found_where_it_starts() -> None:
    parsed = parse_properties(b"first=1\noption.env=A=1,\\\n      B=2\nlast=3\n")
    assert parsed.properties[1:] == (Property("option.env", "A=1,B=2", 2), Property("last", "3", 4))


def test_a_comment_is_not_continued() -> None:
    assert pairs(b"# ends in a backslash \\\na=1\n") == [("a", "1")]


def test_escapes_stand_for_what_java_says() -> None:
    assert pairs(rb"k\:\=\ ey=tab\there \u00e9\\n \ud83d\ude00") == [("k:= ey", "tab\there é\\n 😀")]


def test_every_line_end_java_knows_ends_a_line() -> None:
    assert [pair.line for pair in parse_properties(b"a=1\rb=2\r\nc=3\nd=4").properties] == [1, 2, 3, 4]


def test_utf_8_is_read_as_such_with_or_without_a_byte_order_mark() -> None:
    assert pairs("option.system=Grüße, 東京".encode()) == [("option.system", "Grüße, 東京")]
    assert pairs(b"\xef\xbb\xbfa=1") == [("a", "1")]


def test_what_is_not_utf_8_is_read_as_java_does_with_one_line_that_says_so() -> None:
    parsed = parse_properties(b"a=1\nb=gr\xfc\xdfe\n", "my.properties")
    assert parsed.properties[1].value == "grüße"
    assert parsed.notes == ("my.properties:2: not UTF-8; the file is read as ISO-8859-1, as Java does",)


def test_bad_escapes_are_all_reported_with_their_lines_and_the_rest_is_still_read() -> None:
    parsed = parse_properties(b"a=1\nb=\\u12\nc=3\nd=\\uzzzz\ne=\\ud800\nf=6\n")
    assert [str(error) for error in parsed.errors] == [
        "serving.properties:2: \\u12 is no character; \\u takes four hex digits.",
        "serving.properties:4: \\uzzzz is no character; \\u takes four hex digits.",
        "serving.properties:5: 'e' holds half of a surrogate pair; write both halves.",
    ]
    assert [pair.key for pair in parsed.properties] == ["a", "c", "f"]


def test_an_empty_file_says_nothing() -> None:
    assert parse_properties(b"").properties == ()


no_surrogates = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(no_surrogates, no_surrogates, max_size=8))
def test_what_java_properties_writes_is_read_back(content: dict[str, str]) -> None:
    written = io.StringIO()
    javaproperties.dump(content, written, timestamp=False)
    assert dict(pairs(written.getvalue().encode("ascii"))) == content


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_it_fail_and_every_line_number_is_in_the_file(data: bytes) -> None:
    parsed = parse_properties(data)
    lines = len(re.findall(rb"\r\n|\r|\n", data)) + 1
    assert all(1 <= pair.line <= lines for pair in parsed.properties)
