"""Fields that are written at once read as Django's own would."""

from collections.abc import Callable

import pytest
from django.forms import Form
from django.forms.renderers import DjangoTemplates
from django.test.html import parse_html

from backtests.forms import BacktestForm
from markets.forms import BackfillForm, PairForm
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.forms import StudyForm
from smcsite.forms import AlertForm, PreferencesForm
from smcsite.preferences import Preferences

pytestmark = pytest.mark.django_db

HOSTILE = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    "make",
    [
        lambda: PreferencesForm(initial=Preferences(zone="Asia/Tokyo")),
        lambda: AlertForm({"symbol": HOSTILE, "strength": "999", "sound": "on", "timeframe": "2m"}),
        PairForm,
        lambda: PairForm({"symbol": HOSTILE, "wanted": ["1m", "15m"]}),
        lambda: BackfillForm({"symbol": HOSTILE, "start": "2024-01-01", "end": HOSTILE}),
        BacktestForm,
        lambda: BacktestForm({"symbol": ["FORMUSDT"], "strategy": "zone_retest", "risk_pct": HOSTILE, "from": "x"}),
        lambda: StudyForm({"symbol": "FORMUSDT", "timeframe": "15m", "scale": "swing"}),
    ],
)
def test_every_field_is_written_as_django_writes_it(make: Callable[[], Form]) -> None:
    ensure_series(SeriesKey.of("FORMUSDT", "15m"), is_active=True)
    ours, theirs = make(), make()
    theirs.renderer = DjangoTemplates()
    assert [each.name for each in ours] == [each.name for each in theirs]
    for ours_field, their_field in zip(ours, theirs, strict=True):
        assert "<script" not in str(ours_field)
        assert parse_html(str(ours_field)) == parse_html(str(their_field)), ours_field.name
        assert [parse_html(str(each.tag())) for each in ours_field.subwidgets] == [
            parse_html(str(each.tag())) for each in their_field.subwidgets
        ]
