// @ts-check
/** The chart page: one state, kept in the URL; data by HTTP first, then by the socket. */

import { block, keep } from "./facts.js";
import { iso, momentOf } from "./chart_data.js";
import { bindControls } from "./chart_controls.js";
import { followHash, followRange } from "./chart_jumps.js";
import { bindKeys } from "./chart_keys.js";
import { showFailure, showNote } from "./chart_note.js";
import { bindPointer } from "./chart_pointer.js";
import { ChartSeries, MARGIN_BARS } from "./chart_series.js";
import { placeTrade } from "./chart_trades.js";
import { ChartView } from "./chart_view.js";
import { foldTo, indexOf, shapesOf } from "./smc_shapes.js";

const PANEL_MS = 300;
const LIVE_PANEL_MS = 5_000;

export class ChartPage {
  /** @param {HTMLElement} host */
  constructor(host) {
    const asked = block("chart-facts");
    this.symbol = asked.symbol;
    this.timeframe = asked.timeframe;
    /** @type {string[]} the overlays that no address has to name */
    this.usual = asked.usual;
    this.shown = new Set(asked.shown);
    this.scale = asked.scale;
    /** @type {number | null} seconds; null: now */
    this.asOf = asked.asOf === null ? null : asked.asOf / 1000;
    this.showAll = false;
    this.series = new ChartSeries(this.symbol, this.timeframe, this);
    this.view = new ChartView(host, asked.decimals);
    /** @type {import("./chart_trades.js").TradeFacts | null} */
    this.trade = null;
    this.panelTimer = 0;
    /** @type {(() => void)[]} */
    this.listeners = [];
    this.view.chart.timeScale().subscribeVisibleLogicalRangeChange((/** @type {any} */ range) => {
      if (range && range.from < MARGIN_BARS) this.series.loadOlder();
    });
  }

  /** @param {{isNew?: boolean}} [options] `isNew`: begin with the newest bars, else the visible range stays */
  async load({ isNew = true } = {}) {
    if (isNew) showNote("Loading candles…");
    try {
      const isWhole = await this.series.load(this.timeframe, () => {
        this.draw({ isNew });
        showNote(this.series.bars.length ? "" : "No candles are stored yet. They appear here as soon as they arrive.");
      });
      if (!isWhole) return;
    } catch (error) {
      showFailure(error, () => this.load());
      return;
    }
    this.draw();
    if (this.asOf !== null) await this.showMoment({ isNew });
    if (isNew) await followHash(this);
  }

  lost() {
    this.load({ isNew: false });
  }

  grew() {
    this.draw();
  }

  /** @param {import("./chart_data.js").Bar} bar @param {boolean} isClosed */
  heard(bar, isClosed) {
    if (isClosed && !this.panelTimer) this.refreshPanels(LIVE_PANEL_MS);
    if (this.asOf === null && !document.hidden) {
      this.view.update({ ...bar });
      const wasMaybe = this.view.layer.shapes.zones.some((zone) => zone.isMaybe);
      if (isClosed || this.series.maybe.length || wasMaybe) this.drawShapes();
    }
    this.tell();
  }

  /** The bars that had closed at the chosen moment. */
  get known() {
    const { bars, step } = this.series;
    return this.asOf === null ? bars : bars.slice(0, indexOf(bars, this.asOf - step + 1));
  }

  /** Draw the chosen moment, with the history it needs. @param {{isNew?: boolean}} [options] */
  async showMoment(options = {}) {
    if (this.asOf !== null) await this.series.reach(this.asOf);
    this.draw(options);
  }

  /** @param {{isNew?: boolean}} [options] */
  draw(options = {}) {
    this.view.setBars([...this.known], options);
    this.drawShapes();
    this.tell();
  }

  drawShapes() {
    const signals = foldTo(this.series.signals.values(), this.asOf, this.series.step);
    const maybe = this.asOf === null ? this.series.maybe : [];
    const { showAll, scale } = this;
    const shapes = shapesOf(signals, this.view.bars, { showAll, scale, maybe });
    const trade = this.trade ? placeTrade(this.trade, this.view.bars) : null;
    this.view.layer.change({ shapes, shown: this.shown, trade });
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  /** The address of what is shown; what is usual is left out. */
  get url() {
    const url = new URL(`/web/chart/${this.symbol}/${this.timeframe}`, location.origin);
    const shown = [...this.shown].sort();
    if (shown.join() !== [...this.usual].sort().join()) url.searchParams.set("ov", shown.join(","));
    if (this.scale) url.searchParams.set("scope", this.scale);
    if (this.asOf !== null) url.searchParams.set("as_of", iso(this.asOf));
    const run = new URLSearchParams(location.search).get("run");
    if (run) url.searchParams.set("run", run);
    return url;
  }

  /** Take the state from the address; a moment that cannot be read leaves the one that is shown. */
  readUrl() {
    const asked = new URLSearchParams(location.search);
    this.timeframe = location.pathname.split("/")[4] ?? this.timeframe;
    this.shown = new Set(asked.get("ov")?.split(",") ?? this.usual);
    this.scale = asked.get("scope") ?? "";
    this.asOf = asked.has("as_of") ? (momentOf(asked.get("as_of")) ?? this.asOf) : null;
  }

  /** Write the state into the URL without a new entry in the history. */
  writeUrl() {
    history.replaceState({ range: this.view.chart.timeScale().getVisibleRange() }, "", `${this.url}${location.hash}`);
  }

  noteState() {
    this.writeUrl();
    this.refreshPanels();
  }

  /** Go to another timeframe, as a new entry of the history. @param {string} timeframe */
  async go(timeframe) {
    if (timeframe === this.timeframe) return;
    this.writeUrl();
    this.timeframe = timeframe;
    history.pushState({}, "", this.url);
    await this.show();
  }

  /** Show the series the state names. */
  async show() {
    document.title = `${this.symbol} ${this.timeframe} · SMC Signals`;
    keep("tf", this.timeframe);
    this.tell();
    this.refreshPanels();
    await this.load();
  }

  /** The panels beside and below the chart are the server's; they follow the state. */
  refreshPanels(delay = PANEL_MS) {
    clearTimeout(this.panelTimer);
    this.panelTimer = setTimeout(() => {
      this.panelTimer = 0;
      if (document.querySelector("#side:hover, #side :focus, #events:hover, #events :focus") && delay === LIVE_PANEL_MS) return;
      const { pathname, search } = this.url;
      window.htmx.ajax("GET", `${pathname}${search}`, { target: "#side", swap: "outerHTML" });
      window.htmx.ajax("GET", `${pathname}${search}`, { target: "#events", swap: "outerHTML" });
    }, delay);
  }
}

const host = document.getElementById("chart");
if (host) {
  const page = new ChartPage(host);
  bindControls(page);
  bindKeys(page);
  bindPointer(page);
  addEventListener("hashchange", () => followHash(page));
  document.addEventListener("visibilitychange", () => document.hidden || page.draw());
  // What was known at a moment of the past does not change.
  document.addEventListener("live:poll", () => page.asOf === null && page.load({ isNew: false }));
  page
    .load()
    .then(() => followRange(page))
    .then(() => (document.documentElement.dataset.chart = "ready"));
  Object.assign(window, { chartPage: page });
}
