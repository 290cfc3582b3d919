"""The XML of translation test sets (NIST mteval), read without entities of any kind."""

from __future__ import annotations

from xml.parsers import expat

from llt_core.interfaces import DataError
from llt_plugins.tasks.text.reading import Sentence, Text, decoded_lines, tidy


def mteval_segments(raw: bytes, where: str) -> Text:
    """Return the ``seg`` elements of all ``doc`` elements, in order.

    Raises
    ------
    DataError
        The file is not well-formed UTF-8 XML; or it declares a document type or an entity,
        which could make it read other files, or swell without bounds.
    """
    lines = decoded_lines(raw, where)
    reader = _Reader(where)
    try:
        reader.parser.Parse("\n".join(lines), True)
    except expat.ExpatError as error:
        raise DataError(
            f"this is not well-formed XML: {expat.ErrorString(error.code)}",
            where=f"{where}, line {error.lineno}, column {error.offset + 1}",
            expected="a test set in the XML of mteval",
            next_step="replace the file by the original one",
        ) from None
    return Text(where, tuple(reader.sentences))


class _Reader:
    """Collects segments while expat walks through the document."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.sentences: list[Sentence] = []
        self.doc = 0
        self.inside = False
        self.start = 0
        self.pieces: list[str] | None = None
        # Text is given to expat as text, so no encoding it may declare is believed.
        self.parser = expat.ParserCreate()
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.EntityDeclHandler = self._refuse_entity
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if self.pieces is not None:
            raise self._error(f"there is an element <{name}> inside a segment", "text alone")
        if name == "doc":
            self.doc, self.inside = self.doc + 1, True
        elif name == "seg" and self.inside:
            self.pieces, self.start = [], self.parser.CurrentLineNumber

    def _characters(self, text: str) -> None:
        if self.pieces is not None:
            self.pieces.append(text)

    def _end(self, name: str) -> None:
        if name == "doc":
            self.inside = False
        elif self.pieces is not None:
            text = tidy("".join(self.pieces))
            self.sentences.append(Sentence(text, self.start, self.doc))
            self.pieces = None

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise self._error(f"the file says that its encoding is {encoding}", "UTF-8")

    def _refuse_document_type(self, name: str, *_: object) -> None:
        raise self._error(f"the file declares a document type ({name})", "no <!DOCTYPE …>")

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise self._error(f"the file declares an entity ({name})", "no <!ENTITY …>")

    def _error(self, what: str, expected: str) -> DataError:
        return DataError(
            what,
            where=f"{self.where}, line {self.parser.CurrentLineNumber}",
            expected=expected,
            next_step="replace the file by the original one",
        )
