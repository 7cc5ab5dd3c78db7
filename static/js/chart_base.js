// @ts-check
/** What every chart of ours has: the visitor's zone on its axis, and the theme's colours on its ground. */

import { barText, tickText, zonedScale } from "./chart_time.js";
import { alpha } from "./theme.js";

/**
 * @param {Record<"ground" | "text" | "line" | "edge", string>} palette
 * @param {Record<string, object>} own options of the one chart, by the group they belong to
 */
export function baseOptions(palette, own) {
  const grid = { color: alpha(palette.line, 0.5) };
  return {
    ...own,
    layout: {
      background: { type: "solid", color: palette.ground },
      textColor: palette.text,
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 11,
      panes: { separatorColor: palette.line, separatorHoverColor: palette.edge },
      ...own.layout,
    },
    grid: { vertLines: grid, horzLines: grid },
    rightPriceScale: { borderColor: palette.line, ...own.rightPriceScale },
    timeScale: { borderColor: palette.line, timeVisible: true, tickMarkFormatter: tickText, ...own.timeScale },
    localization: { locale: "en-GB", timeFormatter: barText },
  };
}

/** @param {HTMLElement} host @param {object} options @returns {any} a chart that follows the size of its host */
export function makeChart(host, options) {
  const charts = window.LightweightCharts;
  const scale = zonedScale(charts);
  const all = { autoSize: true, ...options };
  return scale ? charts.createChartEx(host, scale, all) : charts.createChart(host, all);
}
