// @ts-check
/**
 * Everything that is drawn over the candles, as one primitive of lightweight-charts: attached once, three z-layers,
 * culled in index space, whole pixels of the bitmap. The boxes are `smc_zones.js`, the words `smc_labels.js`.
 */

import { drawLabels } from "./smc_labels.js";
import { drawZones } from "./smc_zones.js";
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
      view("bottom", (scope) => drawZones(this, scope)),
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
