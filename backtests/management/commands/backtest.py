"""Runs one backtest: ``manage.py backtest --symbol BTCUSDT --timeframe 15m --from 2023-01-01 --to 2024-01-01``."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser, DjangoHelpFormatter

from backtests.engine.glossary import SECTIONS, metric_text
from backtests.engine.parameters import Parameter, parameters_of
from backtests.engine.run import Result
from backtests.engine.spec import BacktestSpec, run_parameters
from backtests.engine.strategies import STRATEGIES, Breakout
from backtests.reports import publish_into, report_files
from backtests.selectors import read_inputs, settle
from backtests.services.running import folder_name, run_inputs
from markets.candles import Gap
from markets.errors import InvalidInputError
from markets.management.base import ProgressLine, SmcCommand, moment
from markets.moments import iso, parse_time
from markets.series import Timeframe

_SHOWN_HOLES = 5
# Whoever has the shell has the machine; more than this would not fit its memory.
_MAX_CANDLES = 50_000_000


class _HelpFormatter(DjangoHelpFormatter):
    """Keeps the lines of the list of parameters."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(f"{indent}{line}\n" for line in text.splitlines())


class Command(SmcCommand):
    help = "Run one backtest over stored candles, print its metrics, and write its report."
    requires_system_checks = ()  # they read every page and cost a second

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=_HelpFormatter, epilog=_parameters_text(), **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT; several by comma")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))
        parser.add_argument("--from", dest="start", type=moment, help="signals known from here on may trade")
        parser.add_argument("--to", dest="end", type=moment, help="end, exclusive; no candle after it is read")
        parser.add_argument("--strategy", help=f"{', '.join(STRATEGIES)}; default: {Breakout.name}")
        parser.add_argument(
            "--set", dest="pairs", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
            help="parameters, as listed below; lists by comma",
        )  # fmt: skip
        parser.add_argument("--out-dir", type=Path, help="where the report goes; default: below REPORTS_DIR")

    def run(self, **options: Any) -> None:
        spec = settle(_spec_of(options), cap=_MAX_CANDLES)
        line = ProgressLine(self, f"{folder_name(spec)} {spec.timeframe.value}")
        line.show(0.0, "reading candles")
        inputs = read_inputs(spec)
        line.show(0.1, "finding signals")
        result = run_inputs(inputs, line.show)
        line.show(0.8, "writing the report")
        default = settings.REPORTS_ROOT / folder_name(spec) / spec.timeframe.value / spec.digest
        folder = publish_into(options["out_dir"] or default, report_files(result))
        line.show(1.0)
        self._show(result)
        self.stdout.write(f"\nwritten to {folder}: trades.csv, equity.csv, metrics.json and Parquet twins")

    def _show(self, result: Result) -> None:
        spec, metrics = result.spec, result.metrics
        self.stdout.write(
            f"{','.join(spec.symbols)} {spec.timeframe.value} {spec.strategy.name}, "
            f"{iso(spec.start)} to {iso(spec.end)}, {metrics['bars']:,} candles"
        )
        for note in _notes(result):
            self.stdout.write(self.style.WARNING(f"note: {note}"))
        for section, terms in SECTIONS.items():
            self.stdout.write(f"\n{section}")
            for term in terms:
                self.stdout.write(f"  {term.label:<42}{metric_text(metrics, term.name):>28}")
        for name in ("resolution", "rejected"):
            counts = ", ".join(f"{key} {count:,}" for key, count in metrics[name].items())
            self.stdout.write(f"  {name.capitalize():<42}{counts or '-':>28}")


def _spec_of(options: dict[str, Any]) -> BacktestSpec:
    values: dict[str, Any] = {"symbol": options["symbol"], "timeframe": options["timeframe"]}
    for pair in options["pairs"]:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"--set takes key=value, was {pair[:60]!r}", field=name[:60])
        values[name] = _moment(name, value) if name in ("from", "to") else value
    for name, option in (("from", "start"), ("to", "end"), ("strategy", "strategy")):
        if options[option] is not None:
            values[name] = options[option]
    return BacktestSpec.of(values)


def _moment(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidInputError(f"{name} must be {error}", field=name) from None


def _notes(result: Result) -> list[str]:
    """Return what a reader of the numbers must know first."""
    metrics, notes = result.metrics, []
    if metrics["ruined"]:
        notes.append("the account was ruined; the run ends there")
    if metrics["without_costs"]:
        notes.append("without any costs: no account trades like this")
    if metrics["low_sample"]:
        notes.append("less than 30 days: ratios over time are noise")
    for symbol, holes in result.holes.items():
        if holes:
            shown = ", ".join(_hole_text(hole, result.spec.timeframe) for hole in holes[:_SHOWN_HOLES])
            more = f" and {len(holes) - _SHOWN_HOLES} more" if len(holes) > _SHOWN_HOLES else ""
            count = "a hole" if len(holes) == 1 else f"{len(holes)} holes"
            notes.append(f"{symbol} has {count} in the range: {shown}{more}")
    return notes


def _hole_text(hole: Gap, timeframe: Timeframe) -> str:
    return f"{iso(hole.start)} x{hole.count(timeframe)}"


def _parameters_text() -> str:
    """Return every parameter, from where it is described."""
    lines = ["parameters for --set:"]
    for strategy in STRATEGIES.values():
        lines += ["", f"{strategy.name}: {strategy.meaning}"]
        lines += [_parameter_line(each) for each in parameters_of(strategy)]
    group = ""
    for each in run_parameters():
        if each.group.value != group:
            group = each.group.value
            lines += ["", f"{group}:"]
        lines.append(_parameter_line(each))
    return "\n".join(lines)


def _parameter_line(parameter: Parameter) -> str:
    return f"  {parameter.name:<20}{parameter.meaning}; {parameter.range} (default {parameter.shown_default})"
