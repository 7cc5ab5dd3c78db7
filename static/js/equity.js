// @ts-check
/** Equity over drawdown with a shared crosshair; or the equity of several runs. */

import { block } from "./facts.js";
import { baseOptions, makeChart } from "./chart_base.js";
import { offerBands } from "./equity_bands.js";
import { alpha, colours } from "./theme.js";

const NAMES = {
  ground: "--bg-1",
  text: "--tx-2",
  line: "--line",
  edge: "--line-2",
  accent: "--accent",
  quiet: "--tx-3",
  down: "--down",
  sweep: "--sweep",
  liquidity: "--liq",
  up: "--up",
};
const DRAWDOWN_HEIGHT = 110;

const figures = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
/** A true minus, as everywhere on the page. @param {string} text */
const withMinus = (text) => text.replace("-", "\u2212");

/** @param {(value: number) => string} write */
const written = (write) => ({
  type: "custom",
  minMove: 0.01,
  formatter: (/** @type {number} */ value) => withMinus(write(value)),
});
const MONEY = written((value) => figures.format(value));
const PERCENT = written((value) => `${value.toFixed(1)} %`);

/** @param {HTMLElement} host @param {any} data */
function draw(host, data) {
  const charts = window.LightweightCharts;
  let palette = colours(NAMES);
  const options = () =>
    baseOptions(palette, {
      // The footer names and links TradingView; a link inside a picture could not be reached by keyboard.
      layout: { attributionLogo: false },
      timeScale: { minBarSpacing: 0.05 },
    });
  const chart = makeChart(host, options());
  /** @type {[any, () => object][]} */
  const series = [];
  /** @type {(kind: any, look: () => object, points: any[], pane?: number) => any} */
  const add = (kind, look, points, pane = 0) => {
    const each = chart.addSeries(kind, { priceLineVisible: false, priceFormat: MONEY, ...look() }, pane);
    each.setData(points);
    series.push([each, look]);
    return each;
  };
  const pair = (/** @type {number[]} */ point) => ({ time: point[0], value: point[1] });
  if (data.lines) {
    const inks = () => [palette.accent, palette.sweep, palette.liquidity, palette.up];
    data.lines.forEach((/** @type {any} */ line, /** @type {number} */ i) => {
      add(charts.LineSeries, () => ({ color: inks()[i], lineWidth: 2 }), line.points.map(pair));
    });
  } else {
    add(charts.LineSeries, () => ({ color: palette.quiet, lineWidth: 1, lineStyle: 2 }), data.hold.map(pair));
    add(charts.LineSeries, () => ({ color: palette.accent, lineWidth: 2 }), data.equity.map(pair));
    const below = data.equity.map((/** @type {number[]} */ point) => ({ time: point[0], value: point[2] }));
    const look = () => ({
      topColor: alpha(palette.down, 0.05),
      bottomColor: alpha(palette.down, 0.35),
      lineColor: palette.down,
      lineWidth: 1,
      invertFilledArea: true,
      priceFormat: PERCENT,
    });
    add(charts.AreaSeries, look, below, 1);
    chart.panes()[1]?.setHeight(DRAWDOWN_HEIGHT);
  }
  chart.timeScale().fitContent();
  document.addEventListener("theme:changed", () => {
    palette = colours(NAMES);
    chart.applyOptions(options());
    for (const [each, look] of series) each.applyOptions(look());
  });
  const bands = document.querySelector("[data-bands]");
  if (bands instanceof HTMLElement) {
    const look = (/** @type {boolean} */ isMiddle) => () => ({
      color: palette.liquidity,
      lineWidth: isMiddle ? 2 : 1,
      lineStyle: 2,
      lastValueVisible: false,
    });
    offerBands(bands, (points, isMiddle) => add(charts.LineSeries, look(isMiddle), points));
  }
  const button = document.querySelector("[data-log]");
  button?.addEventListener("click", () => {
    const isLog = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isLog));
    chart.priceScale("right", 0).applyOptions({ mode: isLog ? 1 : 0 });
  });
}

const host = document.getElementById("equity");
const data = block("curve");
if (host && data) draw(host, data);
