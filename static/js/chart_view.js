// @ts-check
/** The chart itself: candles, volume, the layer over them, the legend, and what colours they have. */

import { baseOptions, makeChart } from "./chart_base.js";
import { facts } from "./facts.js";
import { priceText } from "./figures.js";
import { SmcLayer } from "./smc_layer.js";
import { alpha, colours } from "./theme.js";

/** @typedef {import("./chart_data.js").Bar} Bar */

const NAMES = {
  up: "--up",
  down: "--down",
  bullBlock: "--bull-ob",
  bearBlock: "--bear-ob",
  sweep: "--sweep",
  liquidity: "--liq",
  ground: "--bg-1",
  line: "--line",
  edge: "--line-2",
  text: "--tx-2",
  quiet: "--tx-3",
  accent: "--accent",
};
const RIGHT_BARS = 13;
const VOLUME_HEIGHT = 74;
/** Pixels a candle needs to be seen as one. */
const NARROWEST = 5;

/** How many decimals prices need that come without a known tick. @param {Bar[]} bars */
function neededDecimals(bars) {
  const places = bars.slice(-100).map((bar) => String(bar.close).split(".")[1]?.length ?? 0);
  return Math.min(8, Math.max(2, ...places));
}

export class ChartView {
  /**
   * @param {HTMLElement} host
   * @param {number | null} decimals
   */
  constructor(host, decimals) {
    const charts = window.LightweightCharts;
    this.host = host;
    this.decimals = decimals;
    /** @type {Bar[]} */
    this.bars = [];
    this.palette = this.readColours();
    this.layer = new SmcLayer(this.palette);
    this.chart = makeChart(host, this.options());
    this.price = this.chart.addSeries(charts.CandlestickSeries, { ...this.candleOptions(), priceLineStyle: 2 });
    this.volume = this.chart.addSeries(
      charts.HistogramSeries,
      { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    this.chart.panes()[1]?.setHeight(VOLUME_HEIGHT);
    this.price.attachPrimitive(this.layer);
    this.legend = document.getElementById("legend");
    this.chart.subscribeCrosshairMove((/** @type {any} */ move) => {
      this.showLegend(move.logical === undefined ? undefined : this.bars[Math.round(move.logical)]);
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.noteVisible());
    document.addEventListener("theme:changed", () => this.paint());
  }

  /** @returns {import("./smc_layer.js").Palette} */
  readColours() {
    return { ...colours(NAMES), font: getComputedStyle(document.body).fontFamily };
  }

  options() {
    const { palette } = this;
    return baseOptions(palette, {
      layout: { attributionLogo: true },
      rightPriceScale: { scaleMargins: { top: 0.08, bottom: 0.06 } },
      timeScale: { secondsVisible: false, rightOffset: RIGHT_BARS, barSpacing: 6 },
      crosshair: {
        mode: 0,
        vertLine: { color: palette.edge, labelBackgroundColor: palette.edge },
        horzLine: { color: palette.edge, labelBackgroundColor: palette.edge },
      },
    });
  }

  candleOptions() {
    const { up, down } = this.palette;
    const step = this.decimals === null ? 0.01 : 10 ** -this.decimals;
    return {
      upColor: up,
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
      priceFormat: { type: "custom", minMove: step, formatter: (/** @type {number} */ value) => priceText(value, this.decimals) },
    };
  }

  /** The theme changed: the canvas knows no custom properties. */
  paint() {
    this.palette = this.readColours();
    this.chart.applyOptions(this.options());
    this.price.applyOptions(this.candleOptions());
    this.volume.setData(this.bars.map((bar) => this.volumeBar(bar)));
    this.layer.change({ colours: this.palette });
  }

  /** @param {Bar} bar */
  volumeBar(bar) {
    const colour = bar.close >= bar.open ? this.palette.up : this.palette.down;
    return { time: bar.time, value: bar.volume, color: alpha(colour, 0.4) };
  }

  /**
   * Show these bars; the visible range stays, except for new series, which begin with their newest bars.
   * @param {Bar[]} bars
   * @param {{isNew?: boolean}} [options]
   */
  setBars(bars, { isNew = false } = {}) {
    this.bars = bars;
    if (this.decimals === null && bars.length) {
      this.decimals = neededDecimals(bars);
      this.price.applyOptions(this.candleOptions());
    }
    this.price.setData(bars);
    this.volume.setData(bars.map((bar) => this.volumeBar(bar)));
    if (isNew) {
      this.price.priceScale().applyOptions({ autoScale: true });
      this.showNewest();
    }
    this.showLegend();
    this.noteVisible();
  }

  showNewest() {
    const to = this.bars.length + RIGHT_BARS;
    const wide = Math.min(facts.bars, this.host.clientWidth / NARROWEST);
    this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(to - wide - RIGHT_BARS, -2), to });
  }

  /** One bar came or changed; an older one is corrected in place. @param {Bar} bar */
  update(bar) {
    const last = this.bars.at(-1);
    const isOld = last !== undefined && bar.time < last.time;
    this.price.update(bar, isOld);
    this.volume.update(this.volumeBar(bar), isOld);
    if (!last || bar.time > last.time) this.bars.push(bar);
    else {
      const place = isOld ? this.bars.findLastIndex((each) => each.time === bar.time) : this.bars.length - 1;
      if (place >= 0) this.bars[place] = bar;
    }
    this.showLegend();
    this.noteVisible();
  }

  /** Centre the chart on an index, keeping the zoom. @param {number} index */
  centre(index) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const half = range ? (range.to - range.from) / 2 : 90;
    scale.setVisibleLogicalRange({ from: index - half, to: index + half });
  }

  /** @param {Bar} [bar] the newest one when none is pointed at */
  showLegend(bar = this.bars.at(-1)) {
    if (!this.legend || !bar) return;
    const change = bar.close - bar.open;
    const isUp = change >= 0;
    const percent = Math.abs((change / bar.open) * 100).toFixed(2);
    const sign = isUp ? "+" : "−";
    const told = [
      ["O", priceText(bar.open, this.decimals)],
      ["H", priceText(bar.high, this.decimals)],
      ["L", priceText(bar.low, this.decimals)],
      ["C", priceText(bar.close, this.decimals)],
      ["", `${isUp ? "▲" : "▼"} ${sign}${priceText(Math.abs(change), this.decimals)} (${sign}${percent} %)`],
      ["Vol", bar.volume.toLocaleString("en-US", { maximumFractionDigits: bar.volume < 100 ? 2 : 0 })],
    ];
    this.legend.replaceChildren(
      ...told.map(([name, value]) => {
        const label = document.createElement("span");
        const figure = document.createElement("b");
        figure.textContent = `${value}`;
        if (name !== "Vol") figure.className = isUp ? "up" : "down";
        label.append(name ? `${name} ` : "", figure);
        return label;
      }),
    );
  }

  /** The visible times, where tests and the share link read them. */
  noteVisible() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const end = this.bars.length - 1;
    if (!range || end < 0) return;
    const clip = (/** @type {number} */ index) => this.bars[Math.min(end, Math.max(0, index))]?.time ?? 0;
    this.host.dataset.visibleFrom = String(clip(Math.ceil(range.from)));
    this.host.dataset.visibleTo = String(clip(Math.floor(range.to)));
  }
}
