// @ts-check
/** The words over the candles: greedy, so that where two collide the less important one gives way. */

import { alpha } from "./theme.js";

const CAPTIONED_ZONES = 400;
/** Where the legend lies over the chart. */
const LEGEND_WIDTH = 520;
const LEGEND_HEIGHT = 30;
const NAMES = /** @type {Record<string, string>} */ ({ CHOCH: "CHoCH" });

class Labels {
  /**
   * @param {import("./smc_layer.js").SmcLayer} layer
   * @param {any} scope
   */
  constructor(layer, scope) {
    this.layer = layer;
    this.scope = scope;
    /** @type {[number, number, number, number][]} */
    this.taken = [];
  }

  /**
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {string} colour
   * @param {{isBold?: boolean, isPill?: boolean, isMaybe?: boolean}} [look]
   */
  write(text, x, y, colour, { isBold = false, isPill = false, isMaybe = false } = {}) {
    const { context, horizontalPixelRatio: hr, verticalPixelRatio: vr, bitmapSize } = this.scope;
    const { font, ground } = this.layer.colours;
    context.font = `${isBold ? 600 : 500} ${Math.round(10 * vr)}px ${font}`;
    const words = isMaybe ? `${text} ?` : text;
    const width = context.measureText(words).width + 8 * hr;
    const height = 14 * vr;
    const [left, top] = [Math.round(x * hr - width / 2), Math.round(y * vr - height / 2)];
    if (left < 2 || left + width > bitmapSize.width - 2) return;
    if (top < LEGEND_HEIGHT * vr && left < LEGEND_WIDTH * hr) return;
    if (this.taken.some(([a, b, c, d]) => left < c && left + width > a && top < d && top + height > b)) return;
    this.taken.push([left, top, left + width, top + height]);
    context.globalAlpha = isMaybe ? 0.6 : 1;
    context.fillStyle = isPill ? alpha(colour, 0.18) : alpha(ground, 0.72);
    context.beginPath();
    context.roundRect(left, top, width, height, 3 * hr);
    context.fill();
    if (isPill) {
      context.strokeStyle = alpha(colour, 0.8);
      context.lineWidth = 1;
      context.setLineDash(isMaybe ? [2 * hr, 2 * hr] : []);
      context.stroke();
      context.setLineDash([]);
    }
    context.fillStyle = colour;
    context.fillText(words, left + width / 2, top + height / 2 + 0.5);
    context.globalAlpha = 1;
  }

  /** @param {string} kind @param {number} shortest */
  breaks(kind, shortest) {
    const { layer } = this;
    for (const line of layer.shapes.lines) {
      if (line.kind !== kind || this.isOutside(line.from, line.to)) continue;
      const y = layer.y(line.price);
      if (y === null || (line.to - line.from) * layer.slope < shortest) continue;
      const colour = line.direction > 0 ? layer.colours.up : layer.colours.down;
      const x = (layer.x(line.from) + layer.x(line.to)) / 2;
      const look = { isBold: line.isSwing || kind === "CHOCH", isPill: line.isSwing, isMaybe: line.isMaybe };
      this.write(NAMES[kind] ?? kind, x, y + (line.direction > 0 ? -10 : 10), colour, look);
    }
  }

  sweeps() {
    const { layer } = this;
    const { context, horizontalPixelRatio: hr, verticalPixelRatio: vr } = this.scope;
    const colour = layer.colours.sweep;
    for (const sweep of layer.shapes.sweeps) {
      const y = this.isOutside(sweep.at, sweep.at) ? null : layer.y(sweep.price);
      if (y === null) continue;
      const away = sweep.direction < 0 ? -1 : 1;
      const [x, middle, r] = [layer.x(sweep.at), y + away * 9, 4.5];
      context.globalAlpha = sweep.isMaybe ? 0.5 : 1;
      context.fillStyle = colour;
      context.beginPath();
      context.moveTo(x * hr, (middle - away * r) * vr);
      context.lineTo((x + r) * hr, (middle + away * r * 0.8) * vr);
      context.lineTo((x - r) * hr, (middle + away * r * 0.8) * vr);
      context.closePath();
      context.fill();
      context.globalAlpha = 1;
      if (layer.slope > 3.2) this.write("SWEEP", x, middle + away * 13, colour, { isMaybe: sweep.isMaybe });
    }
  }

  levels() {
    const { layer } = this;
    for (const level of layer.shapes.levels) {
      const y = this.isOutside(level.from, level.to) ? null : layer.y(level.price);
      if (y === null) continue;
      const x = (layer.x(level.from) + layer.x(level.to)) / 2;
      this.write(level.text, x, y + (level.direction > 0 ? -9 : 9), layer.colours.liquidity);
    }
  }

  points() {
    const { layer } = this;
    for (const point of layer.shapes.points) {
      const y = this.isOutside(point.at, point.at) ? null : layer.y(point.price);
      if (y === null || layer.slope < 3.2) continue;
      this.write(point.text, layer.x(point.at), y + (point.direction > 0 ? -10 : 10), layer.colours.quiet);
    }
  }

  zones() {
    const { layer } = this;
    const open = layer.shapes.zones.filter((zone) => zone.to === null && layer.isShown(zone));
    if (open.length > CAPTIONED_ZONES || !layer.visible) return;
    for (const zone of open) {
      const [top, bottom] = [layer.y(zone.top), layer.y(zone.bottom)];
      if (top === null || bottom === null || zone.from > layer.visible[1]) continue;
      const text = `${zone.direction > 0 ? "▲" : "▼"} ${zone.kind === "BREAKER" ? "BRK" : zone.kind}`;
      this.write(text, this.scope.mediaSize.width - 34, (top + bottom) / 2, layer.colourOf(zone), { isMaybe: zone.isMaybe });
    }
  }

  trade() {
    const { trade, colours } = this.layer;
    const y = trade && this.layer.y(trade.entry);
    if (!trade || y === null) return;
    this.write(trade.text, this.layer.x(trade.from), /** @type {number} */ (y) - 14, colours.accent, { isBold: true, isPill: true });
  }

  /** @param {number} from @param {number} to */
  isOutside(from, to) {
    return !this.layer.visible || to < this.layer.visible[0] || from > this.layer.visible[1];
  }
}

/**
 * @param {import("./smc_layer.js").SmcLayer} layer
 * @param {any} scope
 */
export function drawLabels(layer, scope) {
  if (!layer.visible) return;
  scope.context.textBaseline = "middle";
  scope.context.textAlign = "center";
  const labels = new Labels(layer, scope);
  labels.trade();
  if (layer.shown.has("bos")) labels.breaks("CHOCH", 30);
  if (layer.shown.has("sweep")) labels.sweeps();
  if (layer.shown.has("bos")) labels.breaks("BOS", 24);
  if (layer.shown.has("eq")) labels.levels();
  if (layer.shown.has("swing")) labels.points();
  labels.zones();
}
