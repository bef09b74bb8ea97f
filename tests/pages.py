"""A reader of the pages that the project makes."""

from __future__ import annotations

from html.parser import HTMLParser

INLINE = frozenset(("a", "bdi", "em", "i", "span", "strong", "wbr"))
"""Elements that do not part the words around them."""


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._parts: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self._parts).split())
        """Without the page's line breaks, the texts of neighbours parted by a space."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in INLINE:
            self._parts.append(" ")

    def handle_data(self, data: str) -> None:
        self._parts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


def assert_asks_nothing_of_others(html: str) -> None:
    """Assert that the page runs no script and fetches nothing: all it shows is in it."""
    for tag, attributes in Elements(html).found:
        assert tag not in {"script", "iframe", "object", "embed", "base"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in {"src", "href", "srcset", "action"} & set(attributes):
            assert (attributes[name] or "").startswith(("data:", "#")), (tag, name)
    for sign in ("@import", "url(", "://"):
        assert sign not in html
