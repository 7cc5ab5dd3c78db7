// @ts-check
/** The chart by keyboard: candle by candle with words for it, zoom, the ends, and the timeframes. */

import { announce } from "./facts.js";
import { isTyping } from "./shortcuts.js";
import { priceText } from "./figures.js";
import { barText } from "./chart_time.js";

const ZOOM = 0.8;

/** @param {import("./chart_page.js").ChartPage} page */
export function bindKeys(page) {
  const { view } = page;
  let at = -1;

  /** @param {number} index */
  const pointAt = (index) => {
    at = Math.max(0, Math.min(view.bars.length - 1, index));
    const bar = view.bars[at];
    if (!bar) return;
    const scale = view.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (range && (at < range.from || at > range.to)) view.centre(at);
    view.chart.setCrosshairPosition(bar.close, bar.time, view.price);
    view.showLegend(bar);
    const change = bar.close >= bar.open ? "up" : "down";
    announce(`${barText(bar.time)}, close ${priceText(bar.close, view.decimals)}, ${change}`);
  };

  /** @param {number} factor */
  const zoom = (factor) => {
    const scale = view.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const half = ((range.to - range.from) / 2) * factor;
    const middle = (range.from + range.to) / 2;
    if (half > 4) scale.setVisibleLogicalRange({ from: middle - half, to: middle + half });
  };

  view.host.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const from = at < 0 ? view.bars.length : at;
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => pointAt(from - step),
      ArrowRight: () => pointAt(from + step),
      Home: () => pointAt(0),
      End: () => pointAt(view.bars.length - 1),
      "+": () => zoom(ZOOM),
      "=": () => zoom(ZOOM),
      "-": () => zoom(1 / ZOOM),
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const timeframes = [...document.querySelectorAll("[role=radio][data-timeframe]")].map(
      (radio) => radio.getAttribute("data-timeframe") ?? "",
    );
    const here = timeframes.indexOf(page.timeframe);
    const place = { "[": here - 1, "]": here + 1 }[event.key] ?? (/^[1-7]$/.test(event.key) ? Number(event.key) - 1 : -1);
    const wanted = timeframes[place];
    if (wanted) {
      event.preventDefault();
      page.go(wanted);
    }
  });
}
