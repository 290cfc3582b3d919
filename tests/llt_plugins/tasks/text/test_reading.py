"""Corrupt input: each fault is an error that names the file and the line."""

import pytest

from llt_core.interfaces import DataError
from llt_plugins.tasks.text.mteval import mteval_segments
from llt_plugins.tasks.text.reading import Sentence, Text, decoded_lines, pair_up, plain_text

XML = """<?xml version="1.0" encoding="UTF-8"?>
<mteval>
<srcset setid="x" srclang="german">
<doc docid="1" genre="lectures">
<title>not a sentence</title>
<seg id="1"> Groß &amp; klein &lt;hier&gt; </seg>
<seg id="2"> Zwei
Zeilen. </seg>
</doc>
<doc docid="2">
<seg id="1">Drei</seg>
</doc>
</srcset>
</mteval>
"""


def text(name, *sentences):
    return Text(name, tuple(sentences))


def lines(name, *texts):
    return text(name, *(Sentence(words, n) for n, words in enumerate(texts, start=1)))


def test_segments_with_line_and_document():
    found = mteval_segments(XML.encode(), "a.xml")
    assert found == text(
        "a.xml",
        Sentence("Groß & klein <hier>", 6, 1),
        Sentence("Zwei Zeilen.", 7, 1),
        Sentence("Drei", 11, 2),
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_in_one_way_or_the_other_and_nowhere_else(tmp_path, end):
    path = tmp_path / "a.txt"
    path.write_bytes(f"\ufeffeins\u2028 zwei{end}  drei \t vier\x85{end}".encode())
    assert plain_text(path).sentences == (Sentence("eins zwei", 1), Sentence("drei vier", 2))


LATIN = "eins\nzwei\ngröße\n".encode("latin1")
MIXED = "größe\n".encode() + "grün\n".encode("latin1")


@pytest.mark.parametrize(
    ("raw", "line", "what"),
    [
        (LATIN, 3, "byte 0xf6 at position 12 is not UTF-8"),
        (MIXED, 2, "byte 0xfc"),
        ("eins\nzwei".encode("utf-16"), 1, "byte 0xff"),
        ("eins\nzwei".encode("utf-16-le"), 1, "NUL"),
        (b"eins\nzwei\n\0\n", 3, "NUL"),
        ("größ".encode()[:-1], 1, "byte 0xc3"),
    ],
)
def test_what_is_not_utf8(raw, line, what):
    for read in (decoded_lines, mteval_segments):
        with pytest.raises(DataError, match=what) as error:
            read(raw, "some/file")
        assert error.value.where == f"some/file, line {line}"
        assert "iconv" in error.value.next_step


BOMB = """<!DOCTYPE lolz [
<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;">
]>
"""
OUTSIDE = '<!DOCTYPE a [ <!ENTITY x SYSTEM "file:///etc/passwd"> ]>\n'


@pytest.mark.parametrize("intruder", [BOMB, OUTSIDE, '<!DOCTYPE a SYSTEM "other.dtd">\n'])
def test_document_types_are_refused_before_they_do_anything(intruder):
    head, rest = XML.split("\n", 1)
    with pytest.raises(DataError, match="declares a document type") as error:
        mteval_segments(f"{head}\n{intruder}{rest}".encode(), "a.xml")
    assert error.value.where == "a.xml, line 2"


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("Drei</seg>", "Drei", 12, "mismatched tag"),
        ("</mteval>\n", "", 13, "no element found"),
        ("Groß &amp; klein", "Groß & klein", 6, "not well-formed"),
        ("Groß &amp; klein", "Groß &nbsp; klein", 6, "undefined entity"),
        ("Zeilen.", "<b>Zeilen.</b>", 8, "element <b> inside a segment"),
        ('encoding="UTF-8"', 'encoding="ISO-8859-1"', 1, "its encoding is ISO-8859-1"),
        ("Drei", "Dr\x01ei", 11, "not well-formed"),
    ],
)
def test_broken_xml(old, new, line, what):
    assert old in XML
    with pytest.raises(DataError, match=what) as error:
        mteval_segments(XML.replace(old, new).encode(), "a.xml")
    assert error.value.where.startswith(f"a.xml, line {line}")


def test_pairs_keep_their_order():
    pairs = pair_up(lines("a", "eins", "zwei"), lines("b", "one", "two"), "refuse")
    assert (pairs.sources, pairs.targets) == (("eins", "zwei"), ("one", "two"))


@pytest.mark.parametrize(
    ("source", "target", "where", "what"),
    [
        (["eins", ""], ["one", "two"], "a, line 2", "its translation is b, line 2"),
        (["eins", "zwei"], ["", "two"], "b, line 1", "its translation is a, line 1"),
        (["eins", ""], ["one", ""], "a, line 2", "so is b, line 2"),
        (["eins", "zwei", "drei"], ["one", "two"], "a, line 3", "no translation in b.*3 and 2"),
        (["eins"], ["one", "two"], "b, line 2", "no translation in a.*1 and 2"),
        ([], ["one"], "a, line 1", "holds no sentences"),
        (["eins"], [], "b, line 1", "holds no sentences"),
    ],
)
def test_files_that_do_not_fit(source, target, where, what):
    with pytest.raises(DataError, match=what) as error:
        pair_up(lines("a", *source), lines("b", *target), "refuse")
    assert error.value.where == where


def test_blank_lines_are_skipped_if_the_user_says_so():
    one, other = lines("a", "eins", "", "drei", ""), lines("b", "one", "two", "", "")
    assert pair_up(one, other, "skip").sources == ("eins",)
    with pytest.raises(DataError, match="every pair of sentences lacks one side"):
        pair_up(lines("a", ""), lines("b", "one"), "skip")


def test_a_shift_inside_a_talk_is_found_although_the_files_are_equally_long():
    # Talk 1 has a sentence more on the one side, talk 2 on the other.
    one = text("a", Sentence("1", 2, 1), Sentence("2", 3, 1), Sentence("3", 5, 2))
    other = text("b", Sentence("1", 2, 1), Sentence("3", 4, 2), Sentence("4", 5, 2))
    for source, target in ((one, other), (other, one)):
        with pytest.raises(DataError, match="no translation in b") as error:
            pair_up(source, target, "refuse")
        assert error.value.where == "a, line 3"
