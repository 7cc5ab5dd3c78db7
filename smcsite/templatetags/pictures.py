"""Small pictures that the server draws: sparklines and strips of coverage."""

from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from markets.selectors import SeriesCoverage
from smcsite.templatetags.figures import side_class

register = template.Library()


_SPARK_WIDTH, _SPARK_HEIGHT = 96, 24


@register.simple_tag
def sparkline(values: Any, change: float | None) -> SafeString:
    """Draw the course of a price as a line in the colour of its change; decoration beside figures."""
    return format_html(
        '<svg class="spark {}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>',
        side_class(change), _SPARK_WIDTH, _SPARK_HEIGHT, _points(values),
    )  # fmt: skip


def _points(values: Any) -> str:
    numbers = [float(value) for value in values or ()]
    if len(numbers) < 2:
        return ""
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    step = _SPARK_WIDTH / (len(numbers) - 1)
    return " ".join(
        f"{i * step:.1f},{_SPARK_HEIGHT - 1 - (value - low) / span * (_SPARK_HEIGHT - 2):.1f}"
        for i, value in enumerate(numbers)
    )


@register.simple_tag
def coverage_strip(row: SeriesCoverage, width: int = 240) -> SafeString:
    """Draw what is stored of a series as a strip from its first to its last candle, gaps in another colour."""
    coverage = row.coverage
    if coverage is None:
        return SafeString("")
    step = row.series.timeframe.milliseconds
    span = coverage.last + step - coverage.first
    gaps = format_html_join(
        "",
        '<rect class="gap" x="{}" y="0" width="{}" height="14"/>',
        (
            (
                f"{(gap.start - coverage.first) / span * width:.2f}",
                f"{max((gap.end - gap.start) / span * width, 1):.2f}",
            )
            for gap in coverage.gaps[:500]
        ),
    )
    told = f"{100 * row.share:.2f} % stored, {len(coverage.gaps)} gaps"
    return format_html(
        '<svg class="strip" viewBox="0 0 {0} 14" preserveAspectRatio="none" role="img" aria-label="{1}">'
        '<title>{1}</title><rect class="have" width="{0}" height="14"/>{2}</svg>',
        width,
        told,
        gaps,
    )
