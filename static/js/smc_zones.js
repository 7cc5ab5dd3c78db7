// @ts-check
/** The boxes under the candles: zones, and the stop and target of a trade. */

import { alpha } from "./theme.js";

/**
 * @typedef {import("./smc_layer.js").SmcLayer} SmcLayer
 * @typedef {import("./smc_shapes.js").Zone} Zone
 */

/**
 * @param {SmcLayer} layer
 * @param {any} scope
 */
export function drawZones(layer, scope) {
  const began = performance.now();
  layer.hits = [];
  if (!layer.visible) return;
  const [first, last] = layer.visible;
  for (const zone of layer.shapes.zones) {
    if (zone.from > last) break;
    if ((zone.to !== null && zone.to < first) || !layer.isShown(zone)) continue;
    drawZone(layer, scope, zone);
  }
  if (layer.trade) drawTrade(layer, scope, layer.trade);
  layer.frames.milliseconds += performance.now() - began;
  layer.frames.count += 1;
  layer.frames.drawn = layer.hits.length;
}

/**
 * @param {SmcLayer} layer
 * @param {any} scope
 * @param {Zone} zone
 */
function drawZone(layer, { context, horizontalPixelRatio: hr, verticalPixelRatio: vr, mediaSize }, zone) {
  const top = layer.y(zone.top);
  const bottom = layer.y(zone.bottom);
  if (top === null || bottom === null || bottom < 0 || top > mediaSize.height) return;
  const x0 = layer.x(zone.from);
  const x1 = zone.to === null ? mediaSize.width : Math.min(mediaSize.width, layer.x(zone.to));
  if (x1 - x0 < 0.5) return;
  const [left, right] = [Math.round(x0 * hr), Math.round(x1 * hr)];
  const upper = Math.round(top * vr);
  const [width, height] = [right - left, Math.max(1, Math.round(bottom * vr) - upper)];
  const colour = layer.colourOf(zone);
  const isOpen = zone.to === null;
  const weight = zone.isMaybe ? 0.5 : zone.id === layer.chosen ? 1.8 : 1;
  /** @param {number} share */
  const ink = (share) => alpha(colour, Math.min(1, share * weight));

  if (zone.isGap && isOpen) hatch(layer, context, colour, hr, [left, upper, width, height]);
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
    layer.dash(context, ink(0.55), 1, [2 * hr, 3 * hr]);
    layer.level(context, left, right, Math.round(upper + height / 2) + 0.5);
  }
  layer.hits.push({ id: zone.id, x0, x1, y0: top, y1: Math.max(bottom, top + 2) });
}

/**
 * @param {SmcLayer} layer
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} ratio
 * @param {[number, number, number, number]} box
 */
function hatch(layer, context, colour, ratio, [left, top, width, height]) {
  const key = `${colour}${ratio}`;
  let pattern = layer.patterns.get(key);
  if (pattern === undefined) {
    pattern = makePattern(context, colour, ratio);
    layer.patterns.set(key, pattern);
  }
  if (!pattern) return;
  context.fillStyle = pattern;
  context.fillRect(left, top, width, height);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} ratio
 */
function makePattern(context, colour, ratio) {
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
  return context.createPattern(tile, "repeat");
}

/**
 * @param {SmcLayer} layer
 * @param {any} scope
 * @param {import("./chart_trades.js").Trade} trade
 */
function drawTrade(layer, { context, horizontalPixelRatio: hr, verticalPixelRatio: vr }, trade) {
  const left = Math.round(layer.x(trade.from) * hr);
  const width = Math.max(2, Math.round(layer.x(trade.to) * hr) - left);
  const box = (/** @type {number | null} */ price, /** @type {string} */ colour) => {
    const [a, b] = [layer.y(trade.entry), price === null ? null : layer.y(price)];
    if (a === null || b === null) return;
    context.fillStyle = alpha(colour, 0.16);
    context.fillRect(left, Math.round(Math.min(a, b) * vr), width, Math.max(1, Math.round(Math.abs(a - b) * vr)));
  };
  box(trade.stop, layer.colours.down);
  box(trade.target, layer.colours.up);
}
