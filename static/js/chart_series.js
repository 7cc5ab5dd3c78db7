// @ts-check
/** The candles and signals of the series on the chart: a snapshot by HTTP, then what the socket tells of it. */

import { bar as readBar, fetchBars, fetchSignals, seconds, signal } from "./chart_data.js";
import { live } from "./live.js";
import { indexOf } from "./smc_shapes.js";

/**
 * @typedef {import("./chart_data.js").Bar} Bar
 * @typedef {import("./chart_data.js").Signal} Signal
 * @typedef {object} Listener
 * @property {() => void} lost something is missing, and the series has to be loaded anew
 * @property {() => void} grew older bars and their signals came
 * @property {(bar: Bar, isClosed: boolean) => void} heard a bar moved or closed, or a new one began
 */

/** Bars to the left of what is looked at, so that nobody sees the end of them. */
export const MARGIN_BARS = 60;

export class ChartSeries {
  /**
   * @param {string} symbol
   * @param {string} timeframe
   * @param {Listener} listener
   */
  constructor(symbol, timeframe, listener) {
    this.symbol = symbol;
    this.timeframe = timeframe;
    this.listener = listener;
    /** @type {Bar[]} closed bars, then the forming one */
    this.bars = [];
    /** @type {Map<string, Signal>} */
    this.signals = new Map();
    /** @type {Signal[]} what the forming candle would tell if it closed now */
    this.maybe = [];
    this.hasMore = false;
    this.isLoading = false;
    /** @type {Promise<void> | null} */
    this.older = null;
    this.loads = 0;
    /** @type {any[]} messages that came while the snapshot was on its way */
    this.early = [];
    this.stop = () => {};
  }

  get step() {
    return seconds(this.timeframe);
  }

  /**
   * Load a timeframe anew: the snapshot by HTTP, what the socket tells meanwhile after it.
   * @param {string} timeframe
   * @param {() => void} onBars called when the bars are here and their signals are still on their way
   * @returns {Promise<boolean>} false when another load began meanwhile
   */
  async load(timeframe, onBars) {
    const load = (this.loads += 1);
    this.timeframe = timeframe;
    this.isLoading = true;
    this.early = [];
    this.stop();
    this.stop = live.subscribe(`k:${this.symbol}:${timeframe}`, (message) => this.hear(message));
    try {
      const { bars, hasMore } = await fetchBars(this.symbol, timeframe);
      if (load !== this.loads) return false;
      this.bars = bars;
      this.hasMore = hasMore;
      this.signals = new Map();
      this.maybe = [];
      onBars();
      const first = bars[0];
      const found = first ? await fetchSignals(this.symbol, timeframe, first.time) : [];
      if (load !== this.loads) return false;
      for (const each of found) this.signals.set(each.id, each);
    } catch (error) {
      if (load !== this.loads) return false;
      throw error;
    } finally {
      if (load === this.loads) this.isLoading = false;
    }
    this.hearEarly();
    return true;
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
      this.listener.grew();
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

  /** Load history until a moment is among the bars. @param {number} time */
  async reach(time) {
    const goal = time - MARGIN_BARS * this.step;
    while (this.hasMore && (this.bars[0]?.time ?? 0) > goal) {
      const before = this.bars.length;
      await this.loadOlder(goal);
      if (this.bars.length === before) return;
    }
  }

  /** @param {any} message */
  hear(message) {
    if (message.t === "reset") return this.listener.lost();
    if (message.t !== "kline") return undefined;
    if (this.isLoading) return void this.early.push(message);
    const bar = readBar(message);
    const last = this.bars.at(-1);
    if (last && bar.time > last.time + this.step) return this.listener.lost();
    if (!last || bar.time > last.time) this.bars.push(bar);
    else {
      const place = indexOf(this.bars, bar.time);
      if (this.bars[place]?.time !== bar.time) return undefined;
      this.bars[place] = bar;
    }
    const told = (message.signals ?? []).map(signal);
    this.maybe = message.closed ? [] : told;
    if (message.closed) {
      for (const each of told) this.signals.set(each.id, each);
      for (const mark of message.marks ?? []) this.mark(mark);
    }
    return this.listener.heard(bar, Boolean(message.closed));
  }

  /** @param {any} mark */
  mark(mark) {
    const known = this.signals.get(mark.id);
    if (known && ["mitigated", "filled", "invalidated"].includes(mark.mark)) {
      this.signals.set(mark.id, { ...known, [mark.mark]: Date.parse(mark.time) / 1000 });
    }
  }
}
