"""How any form is drawn."""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


class QuickRenderer(DjangoTemplates):
    """Writes inputs and selects at once.

    Django renders up to three templates for an input and two for an option, which takes more than half of the time
    of a page whose form has forty fields, or a select of four hundred time zones.
    """

    def render(self, template_name: str, context: dict[str, Any], request: Any = None) -> str:
        widget, name = context.get("widget", {}), template_name.removeprefix("django/forms/widgets/")
        if name in _INPUTS or (name == "checkbox_option.html" and not widget.get("wrap_label")):
            return _input(widget)
        if name == "select.html":
            return _select(widget)
        return super().render(template_name, context, request)


_INPUTS = frozenset(f"{each}.html" for each in ("checkbox", "date", "input", "number", "text"))


def _input(widget: dict[str, Any]) -> SafeString:
    value = {} if widget["value"] is None else {"value": widget["value"]}
    return format_html(
        "<input{}>", flatatt({"type": widget["type"], "name": widget["name"], **value, **widget["attrs"]})
    )


def _select(widget: dict[str, Any]) -> SafeString:
    groups = [(name, format_html_join("", "{}", map(_option, options))) for name, options, _ in widget["optgroups"]]
    told = [format_html('<optgroup label="{}">{}</optgroup>', *each) if each[0] else each[1] for each in groups]
    attributes = flatatt({"name": widget["name"], **widget["attrs"]})
    return format_html("<select{}>{}</select>", attributes, format_html_join("", "{}", ((each,) for each in told)))


def _option(option: dict[str, Any]) -> tuple[SafeString]:
    return (
        format_html("<option{}>{}</option>", flatatt({"value": option["value"], **option["attrs"]}), option["label"]),
    )


class AccessibleForm(forms.Form):
    """A form whose fields carry our classes. Django itself says which are wrong, and by which words."""

    default_renderer = QuickRenderer
    error_css_class = "has-error"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dress()

    def dress(self) -> None:
        """Give each field's widget the class of its look."""
        for field in self.fields.values():
            widget = field.widget
            widget.attrs.setdefault("autocomplete", "off")
            if isinstance(widget, forms.CheckboxInput | forms.CheckboxSelectMultiple):
                continue
            widget.attrs.setdefault("class", "select" if isinstance(widget, forms.Select) else "input")
