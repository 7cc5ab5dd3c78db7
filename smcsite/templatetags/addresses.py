"""Addresses. ``{% url %}`` is as Django has it, but quick: a page has a hundred links, and an address never changes.

Every template has these tags without loading them.
"""

from functools import lru_cache
from typing import Any

from django import template
from django.template import Context
from django.template.base import Parser, Token
from django.template.defaulttags import URLNode
from django.template.defaulttags import url as parse_url
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

register = template.Library()


# Equal numbers of other types are written differently.
@lru_cache(maxsize=4096, typed=True)
def _address(_prefix: str, name: str, *arguments: Any) -> str:
    return reverse(name, args=arguments)


class AddressNode(URLNode):
    """Works an address out once for each name and arguments; Django does so for each link anew."""

    def render(self, context: Context) -> str:
        name = self.view_name.resolve(context)
        # An address in a namespace, as the admin's, depends on the request.
        if self.kwargs or ":" in name:
            return super().render(context)
        arguments = [each.resolve(context) for each in self.args]
        try:
            address = _address(get_script_prefix(), name, *arguments)
        except NoReverseMatch:
            return super().render(context)
        if self.asvar:
            context[self.asvar] = address
            return ""
        return conditional_escape(address) if context.autoescape else address


@register.tag
def url(parser: Parser, token: Token) -> AddressNode:
    parsed = parse_url(parser, token)
    return AddressNode(parsed.view_name, parsed.args, parsed.kwargs, parsed.asvar)


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """Return the page's query string with changes; a value of None or empty removes the name."""
    kept = context["request"].GET.copy()
    for name, value in changes.items():
        kept.pop(name, None)
        if value not in (None, ""):
            kept[name] = str(value)
    text = kept.urlencode()
    return f"?{text}" if text else "?"


@register.simple_tag(takes_context=True)
def current(context: Context, *prefixes: str) -> SafeString | str:
    """Mark the link of the page one is on."""
    path = context["request"].path if context.get("request") else ""
    is_here = any(
        path == prefix.rstrip("$") if prefix.endswith("$") else path.startswith(prefix) for prefix in prefixes
    )
    return SafeString('aria-current="page"') if is_here else ""
