// @ts-check
/** The chart page: one state, kept in the URL; data by HTTP first, then by the socket. */

import { block, keep } from "./facts.js";
import { live } from "./live.js";
import { fetchBars, fetchSignals, iso, seconds, signal, bar as readBar } from "./chart_data.js";
import { bindControls } from "./chart_controls.js";
import { bindKeys } from "./chart_keys.js";
import { bindPointer } from "./chart_pointer.js";
import { fetchTrade, placeTrade } from "./chart_trades.js";
import { ChartView } from "./chart_view.js";
import { foldTo, indexOf, shapesOf } from "./smc_shapes.js";

/**
 * @typedef {import("./chart_data.js").Bar} Bar
 * @typedef {import("./chart_data.js").Signal} Signal
 */

const HISTORY_AT = 60;
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
    this.view = new ChartView(host, asked.decimals);
    /** @type {Bar[]} closed bars, then the forming one */
    this.bars = [];
    /** @type {Map<string, Signal>} */
    this.signals = new Map();
    /** @type {Signal[]} what the forming candle would tell if it closed now */
    this.maybe = [];
    /** @type {import("./chart_trades.js").TradeFacts | null} */
    this.trade = null;
    this.hasMore = false;
    this.isLoading = false;
    /** @type {Promise<void> | null} */
    this.older = null;
    this.loads = 0;
    /** @type {any[]} messages that came while the snapshot was on its way */
    this.early = [];
    this.stop = () => {};
    this.panelTimer = 0;
    /** @type {(() => void)[]} */
    this.listeners = [];
    this.view.chart.timeScale().subscribeVisibleLogicalRangeChange((/** @type {any} */ range) => {
      if (range && range.from < HISTORY_AT) this.loadOlder();
    });
  }

  get step() {
    return seconds(this.timeframe);
  }

  /**
   * Load the series anew: the snapshot by HTTP, what the socket tells meanwhile after it.
   * @param {{isNew?: boolean}} [options] `isNew`: begin with the newest bars, else the visible range stays
   */
  async load({ isNew = true } = {}) {
    const load = (this.loads += 1);
    this.isLoading = true;
    this.early = [];
    this.stop();
    this.stop = live.subscribe(`k:${this.symbol}:${this.timeframe}`, (message) => this.hear(message));
    if (isNew) this.note("Loading candles…");
    try {
      const { bars, hasMore } = await fetchBars(this.symbol, this.timeframe);
      if (load !== this.loads) return;
      this.bars = bars;
      this.hasMore = hasMore;
      this.signals = new Map();
      this.maybe = [];
      this.draw({ isNew });
      this.note(bars.length ? "" : "No candles are stored yet. They appear here as soon as they arrive.");
      const first = bars[0];
      const found = first ? await fetchSignals(this.symbol, this.timeframe, first.time) : [];
      if (load !== this.loads) return;
      for (const each of found) this.signals.set(each.id, each);
    } catch (error) {
      if (load === this.loads) this.fail(error);
      return;
    } finally {
      if (load === this.loads) this.isLoading = false;
    }
    this.hearEarly();
    this.draw();
    if (this.asOf !== null) await this.showMoment({ isNew });
    if (isNew) await this.followHash();
  }

  /** Take what was told while something was on its way. */
  hearEarly() {
    for (const message of this.early.splice(0)) this.hear(message);
  }

  /**
   * Load the bars before those that are here; whoever asks meanwhile waits for the same.
   * @param {number} [goal] seconds; whoever names one asks again until a bar opens by then
   */
  loadOlder(goal) {
    this.older ??= this.fetchOlder(goal).finally(() => {
      this.older = null;
    });
    return this.older;
  }

  async fetchOlder(goal = Infinity) {
    const first = this.bars[0];
    if (this.isLoading || !this.hasMore || !first) return;
    const load = this.loads;
    this.isLoading = true;
    try {
      const { bars, hasMore } = await fetchBars(this.symbol, this.timeframe, first.time);
      if (load !== this.loads) return;
      const oldest = bars[0];
      // Zones open at the first bar, with the signals since, are all that were open at any later one.
      const options = { to: first.time, withOpen: !hasMore || (oldest?.time ?? 0) <= goal };
      const found = oldest ? await fetchSignals(this.symbol, this.timeframe, oldest.time, options) : [];
      if (load !== this.loads) return;
      this.hasMore = hasMore && bars.length > 0;
      this.bars = [...bars, ...this.bars];
      for (const each of found) this.signals.set(each.id, each);
      this.draw();
    } catch {
      // History is asked for again at the next move; what is on the screen stays right.
      this.hasMore = true;
    } finally {
      // A load that began meanwhile has its own snapshot, and hears by itself.
      if (load === this.loads) {
        this.isLoading = false;
        this.hearEarly();
      }
    }
  }

  /** @param {any} message */
  hear(message) {
    if (message.t === "reset") return void this.load({ isNew: false });
    if (message.t !== "kline") return undefined;
    if (this.isLoading) return void this.early.push(message);
    const bar = readBar(message);
    const last = this.bars.at(-1);
    if (last && bar.time > last.time + this.step) return void this.load({ isNew: false });
    if (!last || bar.time > last.time) this.bars.push(bar);
    else {
      const place = indexOf(this.bars, bar.time);
      if (this.bars[place]?.time !== bar.time) return undefined;
      this.bars[place] = bar;
    }
    const told = (message.signals ?? []).map(signal);
    if (message.closed) {
      for (const each of told) this.signals.set(each.id, each);
      for (const mark of message.marks ?? []) this.mark(mark);
      this.maybe = [];
      if (!this.panelTimer) this.refreshPanels(LIVE_PANEL_MS);
    } else this.maybe = told;
    if (this.asOf === null && !document.hidden) {
      this.view.update({ ...bar });
      if (message.closed || told.length || this.view.layer.shapes.zones.some((zone) => zone.isMaybe)) this.drawShapes();
    }
    this.tell();
    return undefined;
  }

  /** @param {any} mark */
  mark(mark) {
    const known = this.signals.get(mark.id);
    if (known && ["mitigated", "filled", "invalidated"].includes(mark.mark)) {
      this.signals.set(mark.id, { ...known, [mark.mark]: Date.parse(mark.time) / 1000 });
    }
  }

  /** The bars that had closed at the chosen moment. */
  get known() {
    const { asOf } = this;
    return asOf === null ? this.bars : this.bars.slice(0, indexOf(this.bars, asOf - this.step + 1));
  }

  /** Draw the chosen moment, with the history it needs. @param {{isNew?: boolean}} [options] */
  async showMoment(options = {}) {
    if (this.asOf !== null) await this.reach(this.asOf);
    this.draw(options);
  }

  /** @param {{isNew?: boolean}} [options] */
  draw(options = {}) {
    this.view.setBars([...this.known], options);
    this.drawShapes();
    this.tell();
  }

  drawShapes() {
    const signals = foldTo(this.signals.values(), this.asOf, this.step);
    const maybe = this.asOf === null ? this.maybe : [];
    const { showAll, scale } = this;
    const shapes = shapesOf(signals, this.view.bars, { showAll, scale, maybe });
    const trade = this.trade ? placeTrade(this.trade, this.view.bars) : null;
    this.view.layer.change({ shapes, shown: this.shown, trade });
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  /** Words in the middle of the chart: loading, empty. @param {string} text */
  note(text) {
    const place = document.getElementById("chart-note");
    if (!place) return;
    place.hidden = !text;
    place.textContent = text;
  }

  /** @param {unknown} error */
  fail(error) {
    this.note("The chart could not be loaded.");
    const place = document.getElementById("chart-note");
    const why = document.createElement("span");
    const { message, requestId } = /** @type {import("./chart_data.js").ApiError} */ (error);
    why.textContent = requestId ? `${message} Request ${requestId}` : message;
    const again = document.createElement("button");
    again.className = "btn btn-main";
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => this.load());
    place?.append(why, again);
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

  /** Take the state from an address that `url` wrote. */
  readUrl() {
    const asked = new URLSearchParams(location.search);
    this.timeframe = location.pathname.split("/")[4] ?? this.timeframe;
    this.shown = new Set(asked.get("ov")?.split(",") ?? this.usual);
    this.scale = asked.get("scope") ?? "";
    this.asOf = asked.has("as_of") ? Date.parse(asked.get("as_of") ?? "") / 1000 : null;
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

  /** `#sig=` and `#t=` lead to a signal or a trade. */
  async followHash() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const [sig, trade] = [asked.get("sig"), asked.get("t")];
    const run = new URLSearchParams(location.search).get("run");
    if (sig) await this.showSignal(sig);
    else if (trade && run) await this.showTrade(run, Number(trade));
  }

  /** `from` and `to` of a link that was copied are what it showed. */
  async followRange() {
    const asked = new URLSearchParams(location.search);
    const moment = (/** @type {string} */ name) => Date.parse(asked.get(name) ?? "") / 1000;
    const from = moment("from");
    const to = moment("to");
    if (!(from < to) || !this.bars.length) return;
    await this.reach(from);
    this.view.chart.timeScale().setVisibleRange({ from, to });
  }

  /** @param {string} id */
  async showSignal(id) {
    const event = Number(id.split(".").at(-2)) / 1000;
    if (!Number.isFinite(event)) return;
    await this.reach(event);
    this.view.layer.change({ chosen: id });
    if (this.signals.has(id)) this.view.centre(indexOf(this.view.bars, this.signals.get(id)?.event ?? event));
  }

  /**
   * @param {string} run
   * @param {number} number
   */
  async showTrade(run, number) {
    this.trade = await fetchTrade(run, number).catch(() => null);
    if (!this.trade) return this.note("That trade is not on record any more.");
    await this.reach(this.trade.entryTime);
    this.drawShapes();
    this.view.centre(indexOf(this.view.bars, this.trade.entryTime));
    return undefined;
  }

  /** Load history until a moment is on the chart. @param {number} time */
  async reach(time) {
    const goal = time - HISTORY_AT * this.step;
    while (this.hasMore && (this.bars[0]?.time ?? 0) > goal) {
      const before = this.bars.length;
      await this.loadOlder(goal);
      if (this.bars.length === before) return;
    }
  }
}

const host = document.getElementById("chart");
if (host) {
  const page = new ChartPage(host);
  bindControls(page);
  bindKeys(page);
  bindPointer(page);
  addEventListener("hashchange", () => page.followHash());
  document.addEventListener("visibilitychange", () => document.hidden || page.draw());
  // What was known at a moment of the past does not change.
  document.addEventListener("live:poll", () => page.asOf === null && page.load({ isNew: false }));
  page
    .load()
    .then(() => page.followRange())
    .then(() => (document.documentElement.dataset.chart = "ready"));
  Object.assign(window, { chartPage: page });
}
