// @ts-check
/** Pointing at the chart: a zone tells what it is, a click opens it; rows beside the chart lead to their bars. */

import { showSignal } from "./chart_jumps.js";
import { priceText } from "./figures.js";
import { duration } from "./times.js";

const NAMES = /** @type {Record<string, string>} */ ({
  FVG: "Fair value gap",
  IFVG: "Inverse fair value gap",
  OB: "Order block",
  BREAKER: "Breaker block",
});

/** @param {import("./chart_page.js").ChartPage} page */
export function bindPointer(page) {
  const { view } = page;
  const tip = document.getElementById("tip");

  view.chart.subscribeCrosshairMove((/** @type {any} */ move) => {
    if (!tip) return;
    const id = move.point ? view.layer.hitTest(move.point.x, move.point.y)?.externalId : undefined;
    const zone = id ? view.layer.shapes.zones.find((each) => each.id === id) : undefined;
    tip.hidden = !zone;
    if (!zone || !id) return;
    const known = page.series.signals.get(id);
    const now = view.bars.at(-1)?.time ?? 0;
    const state = zone.to !== null ? "over" : zone.isTouched ? "touched" : "active";
    const title = document.createElement("strong");
    title.textContent = `${zone.direction > 0 ? "▲ Bullish" : "▼ Bearish"} ${(NAMES[zone.kind] ?? zone.kind).toLowerCase()}`;
    const range = document.createElement("span");
    range.textContent = `${priceText(zone.bottom, view.decimals)} – ${priceText(zone.top, view.decimals)}`;
    const rest = document.createElement("span");
    rest.className = "dim";
    const age = known ? `${duration(now - known.confirm)} old, ` : "";
    rest.textContent = ` · ${age}${state}${zone.isMaybe ? ", if the candle closes here" : ""}`;
    tip.replaceChildren(title, range, rest);
    const left = Math.min(move.point.x + 14, view.host.clientWidth - 260);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, move.point.y - 58)}px`;
  });

  view.chart.subscribeClick((/** @type {any} */ click) => {
    const id = click.point ? view.layer.hitTest(click.point.x, click.point.y)?.externalId : undefined;
    if (id && page.series.signals.has(id)) {
      window.htmx.ajax("GET", `/web/signals/${encodeURIComponent(id)}`, { target: "#drawer", swap: "innerHTML" });
    }
  });

  // Before htmx: on its own chart a signal is shown, not opened.
  document.addEventListener(
    "click",
    (event) => {
      const target = /** @type {Element} */ (event.target);
      if (target.closest("#drawer")) return;
      const row = target.closest("main [data-signal-id], main [data-sig]");
      const id = row?.getAttribute("data-signal-id") ?? row?.getAttribute("data-sig");
      if (!row || !id || /** @type {MouseEvent} */ (event).metaKey || /** @type {MouseEvent} */ (event).ctrlKey) return;
      event.preventDefault();
      event.stopPropagation();
      const [symbol, timeframe] = id.split(".");
      if (symbol === page.symbol && timeframe === page.timeframe) {
        history.replaceState(history.state, "", `#sig=${encodeURIComponent(id)}`);
        showSignal(page, id);
        view.host.scrollIntoView({ block: "nearest" });
      } else location.assign(`/web/chart/${symbol}/${timeframe}#sig=${encodeURIComponent(id)}`);
    },
    { capture: true },
  );
}
