"""URLs of signals: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from signals.api.evidence import EvidenceView, StudyCancelView, StudyListView, StudyView, TrackRecordView
from signals.api.signals import SignalListView, SignalSummaryView
from signals.views.chart import chart, charts
from signals.views.evidence import cancel_study, evidence, study_page, track_record_page
from signals.views.signals import signal, signal_list

api: list[URLPattern] = [
    path("signals/", SignalListView.as_view(), name="api-signals"),
    path("signals/stats/summary", SignalSummaryView.as_view(), name="api-signal-summary"),
    path("signals/evidence/", EvidenceView.as_view(), name="api-evidence"),
    path("signals/track-record/", TrackRecordView.as_view(), name="api-track-record"),
    path("studies/", StudyListView.as_view(), name="api-studies"),
    path("studies/<int:job_id>/", StudyView.as_view(), name="api-study"),
    path("studies/<int:job_id>/cancel", StudyCancelView.as_view(), name="api-study-cancel"),
]

pages: list[URLPattern] = [
    path("chart", charts, name="charts"),
    path("chart/<str:symbol>/<str:timeframe>", chart, name="chart"),
    path("signals", signal_list, name="signals"),
    path("signals/<str:signal_id>", signal, name="signal"),
    path("evidence", evidence, name="evidence"),
    path("evidence/<int:job_id>", study_page, name="study"),
    path("evidence/<int:job_id>/cancel", cancel_study, name="cancel-study"),
    path("track-record", track_record_page, name="track-record"),
]
