"""``{% written_once value … %}``: a part of a template that is written once for each of its values.

Lists show the same rows to everyone, page after page. What the part shows must follow from the values alone, and they
must be hashable and never change (strings, numbers, frozen dataclasses): then what is kept cannot be out of date.
"""

from typing import Any

from django import template
from django.template import Context, Node, NodeList
from django.template.base import FilterExpression, Parser, Token
from django.utils.safestring import SafeString

register = template.Library()

_MOST_KEPT = 1_000


class FragmentNode(Node):
    def __init__(self, nodelist: NodeList, values: list[FilterExpression]) -> None:
        self.nodelist = nodelist
        self._values = values
        self._kept: dict[tuple[Any, ...], SafeString] = {}

    def render(self, context: Context) -> SafeString:
        key = tuple(each.resolve(context) for each in self._values)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = self.nodelist.render(context)
        return found


@register.tag
def written_once(parser: Parser, token: Token) -> FragmentNode:
    values = [parser.compile_filter(bit) for bit in token.split_contents()[1:]]
    nodelist = parser.parse(("endwritten_once",))
    parser.delete_first_token()
    return FragmentNode(nodelist, values)
