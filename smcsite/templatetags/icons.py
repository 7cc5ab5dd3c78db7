"""``{% icon "bell" %}``: line icons drawn inline, so that they cost no request and take the text's colour."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_PATHS = {
    "bell": '<path d="M8 2a4 4 0 0 0-4 4v3l-1.5 2.5h11L12 9V6a4 4 0 0 0-4-4ZM6.5 13.5a1.6 1.6 0 0 0 3 0"/>',
    "theme": '<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5v11a5.5 5.5 0 0 0 0-11Z" fill="currentColor"/>',
    "gear": (
        '<circle cx="8" cy="8" r="2.2"/><path d="M8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 '
        '1.4M3.6 12.4 5 11M11 5l1.4-1.4"/>'
    ),
    "help": '<circle cx="8" cy="8" r="6"/><path d="M6.2 6.3a1.9 1.9 0 1 1 2.6 1.8c-.6.3-.8.6-.8 1.2M8 11.4v.1"/>',
    "star": '<path d="m8 2 1.8 3.8 4.2.5-3.1 2.9.8 4.1L8 11.3l-3.7 2 .8-4.1L2 6.3l4.2-.5Z"/>',
    "search": '<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/>',
    "share": '<path d="M6.5 9.5 13 3M9 2.5h4.5V7M12.5 9.5v3a1 1 0 0 1-1 1h-8a1 1 0 0 1-1-1v-8a1 1 0 0 1 1-1h3"/>',
    "download": '<path d="M8 2.5v7.5M4.5 7 8 10.5 11.5 7M2.5 13.5h11"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "chart": '<path d="M4 3v2M4 10v3M3 5h2v5H3ZM8 2v2M8 9v2M7 4h2v5H7ZM12 5v2M12 12v1.5M11 7h2v5h-2Z"/>',
    "home": '<path d="M2.5 7.5 8 3l5.5 4.5M4 6.5V13h8V6.5"/>',
    "pulse": '<path d="M1.5 8.5h3L6.5 3l3 10 2-4.5h3"/>',
    "flask": '<path d="M6 2h4M6.7 2v4.5L3 12.2a.9.9 0 0 0 .8 1.3h8.4a.9.9 0 0 0 .8-1.3L9.3 6.5V2M4.8 10h6.4"/>',
    "gauge": '<path d="M2.5 11.5a5.7 5.7 0 1 1 11 0M8 10.5l2.5-4"/>',
    "more": '<path d="M3 8h.01M8 8h.01M13 8h.01" stroke-width="2.6"/>',
    "scale": '<path d="M8 2.5v11M4.5 13.5h7M3 4.5h10M3 4.5 1.5 9a2 2 0 0 0 3 0ZM13 4.5 11.5 9a2 2 0 0 0 3 0Z"/>',
    "alert": '<path d="M8 2 1.8 13.2h12.4ZM8 6.5v3M8 11.4v.1"/>',
    "info": '<circle cx="8" cy="8" r="6"/><path d="M8 7.3v3.7M8 5v.1"/>',
    "check": '<path d="m3 8.5 3.2 3.2L13 4.8"/>',
    "play": '<path d="M5 3.2v9.6L12.5 8Z"/>',
    "pause": '<path d="M5.5 3.5v9M10.5 3.5v9"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "list": '<path d="M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01"/>',
    "refresh": '<path d="M13 8a5 5 0 1 1-1.5-3.5L13 6M13 2.5V6H9.5"/>',
    "empty": '<path d="M2.5 9 4 3.5h8L13.5 9v4h-11ZM2.5 9H6a2 2 0 0 0 4 0h3.5"/>',
}  # fmt: skip


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon; decoration only, so the element beside it carries the words."""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">{}</svg>',
        mark_safe(_PATHS[name]),  # noqa: S308 - constants of this module
    )
