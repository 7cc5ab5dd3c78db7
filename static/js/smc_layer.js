// @ts-check
/**
 * Everything that is drawn over the candles, as one primitive of lightweight-charts: attached once, three z-layers,
 * culled in index space, whole pixels of the bitmap. The text of labels is `smc_labels.js`.
 */

import { drawLabels } from "./smc_labels.js";
import { alpha } from "./theme.js";

/**
 * @typedef {import("./smc_shapes.js").Zone} Zone
 * @typedef {Record<"up" | "down" | "bullBlock" | "bearBlock" | "sweep" | "liquidity" | "ground" | "line" | "edge" |
 *   "text" | "quiet" | "accent" | "font", string>} Palette
 */

export class SmcLayer {
  /** @param {Palette} colours */
  constructor(colours) {
    this.colours = colours;
    /** @type {Set<string>} */
    this.shown = new Set();
    /** @type {import("./smc_shapes.js").Shapes} */
    this.shapes = { zones: [], lines: [], sweeps: [], levels: [], points: [] };
    /** @type {import("./chart_trades.js").Trade | null} */
    this.trade = null;
    this.chosen = "";
    /** @type {{id: string, x0: number, x1: number, y0: number, y1: number}[]} */
    this.hits = [];
    /** @type {Map<string, CanvasPattern | null>} */
    this.patterns = new Map();
    this.frames = { count: 0, milliseconds: 0, drawn: 0 };
    const view = (/** @type {string} */ zOrder, /** @type {(scope: any) => void} */ draw) => ({
      zOrder: () => zOrder,
      renderer: () => ({ draw: (/** @type {any} */ target) => target.useBitmapCoordinateSpace(draw) }),
    });
    this.views = [
      view("bottom", (scope) => this.drawZones(scope)),
      view("normal", (scope) => this.drawLines(scope)),
      view("top", (scope) => drawLabels(this, scope)),
    ];
    /** @type {any} */
    this.chart = null;
    /** @type {any} */
    this.series = null;
    this.repaint = () => {};
    /** @type {[number, number] | null} */
    this.visible = null;
    this.slope = 1;
    this.offset = 0;
  }

  /** @param {any} parameters */
  attached({ chart, series, requestUpdate }) {
    this.chart = chart;
    this.series = series;
    this.repaint = requestUpdate;
    requestUpdate();
  }

  detached() {
    this.repaint = () => {};
  }

  paneViews() {
    return this.views;
  }

  /** @param {Partial<Pick<SmcLayer, "colours" | "shown" | "shapes" | "chosen" | "trade">>} changes */
  change(changes) {
    Object.assign(this, changes);
    if (changes.colours) this.patterns.clear();
    this.repaint();
  }

  updateAllViews() {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    this.visible = range ? [Math.floor(range.from) - 1, Math.ceil(range.to) + 1] : null;
    // The way from index to x is affine: two look-ups a frame instead of two a box.
    const first = scale.logicalToCoordinate(0);
    this.slope = (scale.logicalToCoordinate(1000) - first) / 1000;
    this.offset = first;
  }

  /** @param {number} index */
  x(index) {
    return this.offset + this.slope * index;
  }

  /** @param {number} price @returns {number | null} */
  y(price) {
    return this.series.priceToCoordinate(price);
  }

  /** @param {Zone} zone */
  colourOf(zone) {
    const { up, down, bullBlock, bearBlock } = this.colours;
    if (zone.isGap) return zone.direction > 0 ? up : down;
    return zone.direction > 0 ? bullBlock : bearBlock;
  }

  /** @param {Zone} zone */
  isShown(zone) {
    return this.shown.has(zone.isGap ? "fvg" : "ob");
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  hitTest(x, y) {
    for (let i = this.hits.length - 1; i >= 0; i -= 1) {
      const hit = this.hits[i];
      if (hit && x >= hit.x0 && x <= hit.x1 && y >= hit.y0 && y <= hit.y1) {
        return { cursorStyle: "pointer", externalId: hit.id, zOrder: "bottom" };
      }
    }
    return null;
  }

  /** @param {any} scope */
  drawZones(scope) {
    const began = performance.now();
    this.hits = [];
    if (!this.visible) return;
    const [first, last] = this.visible;
    for (const zone of this.shapes.zones) {
      if (zone.from > last) break;
      if ((zone.to !== null && zone.to < first) || !this.isShown(zone)) continue;
      this.drawZone(scope, zone);
    }
    if (this.trade) this.drawTrade(scope, this.trade);
    this.frames.milliseconds += performance.now() - began;
    this.frames.count += 1;
    this.frames.drawn = this.hits.length;
  }

  /**
   * @param {any} scope
   * @param {Zone} zone
   */
  drawZone({ context, horizontalPixelRatio: hr, verticalPixelRatio: vr, mediaSize }, zone) {
    const top = this.y(zone.top);
    const bottom = this.y(zone.bottom);
    if (top === null || bottom === null || bottom < 0 || top > mediaSize.height) return;
    const x0 = this.x(zone.from);
    const x1 = zone.to === null ? mediaSize.width : Math.min(mediaSize.width, this.x(zone.to));
    if (x1 - x0 < 0.5) return;
    const [left, right] = [Math.round(x0 * hr), Math.round(x1 * hr)];
    const upper = Math.round(top * vr);
    const [width, height] = [right - left, Math.max(1, Math.round(bottom * vr) - upper)];
    const colour = this.colourOf(zone);
    const isOpen = zone.to === null;
    const weight = zone.isMaybe ? 0.5 : zone.id === this.chosen ? 1.8 : 1;
    /** @param {number} share */
    const ink = (share) => alpha(colour, Math.min(1, share * weight));

    if (zone.isGap && isOpen) this.hatch(context, colour, hr, [left, upper, width, height]);
    context.fillStyle = ink(zone.isGap ? 0.06 : isOpen ? (zone.isTouched ? 0.09 : 0.16) : 0.045);
    context.fillRect(left, upper, width, height);
    context.fillStyle = ink(isOpen ? 0.48 : zone.isGap ? 0.18 : 0.1);
    context.fillRect(left, upper, width, 1);
    context.fillRect(left, upper + height - 1, width, 1);
    if (isOpen && !zone.isGap) {
      context.fillStyle = ink(0.75);
      context.fillRect(left, upper, Math.max(1, Math.round(2 * hr)), height);
    }
    if (isOpen && zone.isGap && height > 6) {
      this.dash(context, ink(0.55), 1, [2 * hr, 3 * hr]);
      this.level(context, left, right, Math.round(upper + height / 2) + 0.5);
    }
    this.hits.push({ id: zone.id, x0, x1, y0: top, y1: Math.max(bottom, top + 2) });
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} colour
   * @param {number} ratio
   * @param {[number, number, number, number]} box
   */
  hatch(context, colour, ratio, [left, top, width, height]) {
    const key = `${colour}${ratio}`;
    let pattern = this.patterns.get(key);
    if (pattern === undefined) {
      const tile = document.createElement("canvas");
      const size = Math.round(6 * ratio);
      tile.width = tile.height = size;
      const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
      pen.strokeStyle = alpha(colour, 0.34);
      pen.lineWidth = ratio;
      pen.beginPath();
      for (const shift of [-size, 0, size]) {
        pen.moveTo(shift, size);
        pen.lineTo(shift + size, 0);
      }
      pen.stroke();
      pattern = context.createPattern(tile, "repeat");
      this.patterns.set(key, pattern);
    }
    if (!pattern) return;
    context.fillStyle = pattern;
    context.fillRect(left, top, width, height);
  }

  /**
   * @param {any} scope
   * @param {import("./chart_trades.js").Trade} trade
   */
  drawTrade({ context, horizontalPixelRatio: hr, verticalPixelRatio: vr }, trade) {
    const left = Math.round(this.x(trade.from) * hr);
    const width = Math.max(2, Math.round(this.x(trade.to) * hr) - left);
    const box = (/** @type {number | null} */ price, /** @type {string} */ colour) => {
      const [a, b] = [this.y(trade.entry), price === null ? null : this.y(price)];
      if (a === null || b === null) return;
      context.fillStyle = alpha(colour, 0.16);
      context.fillRect(left, Math.round(Math.min(a, b) * vr), width, Math.max(1, Math.round(Math.abs(a - b) * vr)));
    };
    box(trade.stop, this.colours.down);
    box(trade.target, this.colours.up);
  }

  /** @param {any} scope */
  drawLines({ context, horizontalPixelRatio: hr, verticalPixelRatio: vr }) {
    if (!this.visible) return;
    const [first, last] = this.visible;
    const { up, down, liquidity, sweep, accent } = this.colours;
    /** @type {(from: number, to: number, price: number, colour: string, dashes: number[], width: number) => void} */
    const draw = (from, to, price, colour, dashes, width) => {
      const y = to < first || from > last ? null : this.y(price);
      if (y === null) return;
      const thick = Math.max(1, Math.floor(width * vr));
      this.dash(context, colour, thick, dashes.map((each) => each * hr));
      this.level(context, Math.round(this.x(from) * hr), Math.round(this.x(to) * hr), Math.round(y * vr) + (thick % 2) / 2);
    };
    if (this.shown.has("bos")) {
      for (const line of this.shapes.lines) {
        const colour = alpha(line.direction > 0 ? up : down, line.isMaybe ? 0.5 : 1);
        const width = (line.isSwing ? 1.6 : 1) + (line.id === this.chosen ? 1.4 : 0);
        draw(line.from, line.to, line.price, colour, line.isSwing && !line.isMaybe ? [] : [4, 3], width);
      }
    }
    const dots = [1.5, 2.5];
    for (const each of this.shown.has("eq") ? this.shapes.levels : []) {
      draw(each.from, each.to, each.price, liquidity, dots, each.id === this.chosen ? 2.4 : 1);
    }
    for (const each of this.shown.has("sweep") ? this.shapes.sweeps : []) {
      draw(each.from, each.at, each.level, alpha(sweep, 0.7), dots, each.id === this.chosen ? 2.4 : 1);
    }
    if (this.trade) draw(this.trade.from, this.trade.to, this.trade.entry, accent, [], 1.6);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} colour
   * @param {number} width
   * @param {number[]} dashes
   */
  dash(context, colour, width, dashes) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dashes);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} from
   * @param {number} to
   * @param {number} y
   */
  level(context, from, to, y) {
    context.beginPath();
    context.moveTo(from, y);
    context.lineTo(to, y);
    context.stroke();
    context.setLineDash([]);
  }
}
