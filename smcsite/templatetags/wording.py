"""Names and values of the code as people read them."""

from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from markets.models import Job
from smcsite.templatetags.figures import NOTHING

register = template.Library()

_STATE_CLASSES = {
    "live": "tag-ok",
    "ok": "tag-ok",
    "catching_up": "tag-accent",
    "stale": "tag-warn",
    "gapped": "tag-warn",
    "halted": "tag-warn",
    "degraded": "tag-warn",
    "down": "tag-danger",
}


@register.filter
def state_class(state: str) -> str:
    return _STATE_CLASSES.get(state, "")


@register.filter
def words(name: str) -> str:
    return str(name).replace("_", " ")


@register.filter
def listed(value: Any) -> str:
    """Write a parameter's value: lists by comma, nothing as a dash, a flag as yes or no."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.10g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@register.filter
def spaced(text: str) -> str:
    """Write what is joined by commas so that it can be read, and broken at the end of a line."""
    return text.replace(",", ", ")


@register.filter
def progress_percent(job: Job) -> int:
    return round(job.progress * 100)


@register.simple_tag
def job_root(job: Job, address: str) -> SafeString:
    """Write the attributes by which scripts find a job's part, and by which it is asked for anew until it has ended."""
    root = format_html('id="job-{0}" data-job="{0}" data-state="{1}"', job.pk, job.state)
    if job.is_ended:
        return root
    part = reverse(address, args=[job.pk])
    return format_html('{} hx-get="{}" hx-trigger="refresh" hx-target="this" hx-swap="outerHTML"', root, part)


@register.filter
def item(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)
