// @ts-check
/** Signals as shapes: what is drawn of what was known at a moment, at bar indices. */

/**
 * @typedef {import("./chart_data.js").Signal} Signal
 * @typedef {import("./chart_data.js").Bar} Bar
 * @typedef {{id: string, kind: string, direction: number, from: number, to: number | null, top: number,
 *   bottom: number, isTouched: boolean, isGap: boolean, isMaybe: boolean}} Zone
 * @typedef {{id: string, kind: string, direction: number, from: number, to: number, price: number,
 *   isSwing: boolean, isMaybe: boolean}} Line
 * @typedef {{id: string, direction: number, from: number, at: number, price: number, level: number,
 *   isMaybe: boolean}} Sweep
 * @typedef {{id: string, direction: number, from: number, to: number, price: number, text: string}} Level
 * @typedef {{id: string, direction: number, at: number, price: number, text: string}} Point
 * @typedef {{zones: Zone[], lines: Line[], sweeps: Sweep[], levels: Level[], points: Point[]}} Shapes
 */

const GAPS = new Set(["FVG", "IFVG"]);
const ZONES = new Set(["FVG", "IFVG", "OB", "BREAKER"]);
/** Clutter is the first complaint about such charts: by default the newest few, and gaps near the price. */
const OPEN_BLOCKS = 5;
const OVER_BLOCKS = 6;
const OVER_GAPS = 14;
const OPEN_GAPS = 4;
const NEAR_RANGES = 3;

/**
 * The first index whose bar opens at or after `time`; bars.length when none does.
 * @param {Bar[]} bars
 * @param {number} time
 */
export function indexOf(bars, time) {
  let low = 0;
  let high = bars.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {Bar} */ (bars[middle]).time < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What was known at `asOf`: signals whose confirm candle had closed, marks of candles that had closed.
 * @param {Iterable<Signal>} signals
 * @param {number | null} asOf seconds; null for now
 * @param {number} step seconds of a candle
 * @returns {Signal[]}
 */
export function foldTo(signals, asOf, step) {
  if (asOf === null) return [...signals];
  const known = (/** @type {number | null} */ time) => (time !== null && time + step <= asOf ? time : null);
  const folded = [];
  for (const each of signals) {
    if (each.confirm + step > asOf) continue;
    folded.push({
      ...each,
      mitigated: known(each.mitigated),
      filled: known(each.filled),
      invalidated: known(each.invalidated),
    });
  }
  return folded;
}

/**
 * @param {Signal[]} signals folded
 * @param {Bar[]} bars
 * @param {{showAll: boolean, scale: string, maybe?: Signal[]}} options `maybe`: what the forming candle would tell
 * @returns {Shapes}
 */
export function shapesOf(signals, bars, { showAll, scale, maybe = [] }) {
  /** @type {Shapes} */
  const shapes = { zones: [], lines: [], sweeps: [], levels: [], points: [] };
  const drawn = new Set(maybe);
  for (const each of [...signals, ...maybe]) {
    if (scale && each.scale !== scale) continue;
    add(shapes, each, bars, drawn.has(each));
  }
  shapes.zones = onceEach(shapes.zones);
  if (!showAll) shapes.zones = fewZones(shapes.zones, bars);
  shapes.zones.sort((a, b) => a.from - b.from);
  return shapes;
}

/**
 * @param {Shapes} shapes
 * @param {Signal} each
 * @param {Bar[]} bars
 * @param {boolean} isMaybe
 */
function add(shapes, each, bars, isMaybe) {
  const { id, kind, direction } = each;
  const at = indexOf(bars, each.event);
  const from = indexOf(bars, each.ref);
  if (kind === "BOS" || kind === "CHOCH") {
    const to = indexOf(bars, each.confirm);
    shapes.lines.push({ id, kind, direction, from, to, price: each.level, isSwing: each.scale === "swing", isMaybe });
  } else if (kind === "SWEEP") {
    const price = (direction < 0 ? each.top : each.bottom) ?? each.level;
    shapes.sweeps.push({ id, direction, from, at, price, level: each.level, isMaybe });
  } else if (kind === "EQ") {
    shapes.levels.push({ id, direction, from, to: at, price: each.level, text: direction > 0 ? "EQH" : "EQL" });
  } else if (kind === "SWING") {
    shapes.points.push({ id, direction, at, price: each.level, text: each.tag || (direction > 0 ? "H" : "L") });
  } else if (ZONES.has(kind) && each.top !== null && each.bottom !== null) {
    const over = each.invalidated ?? (GAPS.has(kind) ? each.filled : null);
    shapes.zones.push({
      id,
      kind,
      direction,
      from: at,
      to: over === null ? null : indexOf(bars, over),
      top: each.top,
      bottom: each.bottom,
      isTouched: each.mitigated !== null,
      isGap: GAPS.has(kind),
      isMaybe,
    });
  }
}

/** Both scales find the same gaps; one box tells both. @param {Zone[]} zones */
function onceEach(zones) {
  const seen = new Set();
  return zones.filter((zone) => {
    const key = `${zone.kind}${zone.direction}|${zone.from}|${zone.top}|${zone.bottom}`;
    return !seen.has(key) && seen.add(key);
  });
}

/**
 * The newest open blocks of each side, open gaps near the price, and a few of what is over.
 * @param {Zone[]} zones
 * @param {Bar[]} bars
 */
function fewZones(zones, bars) {
  const newestFirst = [...zones].sort((a, b) => b.from - a.from);
  const blocks = newestFirst.filter((zone) => !zone.isGap);
  const gaps = newestFirst.filter((zone) => zone.isGap);
  /** @type {(all: Zone[], direction: number, most: number) => Zone[]} */
  const open = (all, direction, most) =>
    all.filter((zone) => zone.to === null && zone.direction === direction).slice(0, most);
  const near = gaps.filter((zone) => zone.isMaybe || isNear(zone, bars));
  return [
    ...open(blocks, 1, OPEN_BLOCKS),
    ...open(blocks, -1, OPEN_BLOCKS),
    ...open(near, 1, OPEN_GAPS),
    ...open(near, -1, OPEN_GAPS),
    ...blocks.filter((zone) => zone.to !== null).slice(0, OVER_BLOCKS),
    ...gaps.filter((zone) => zone.to !== null).slice(0, OVER_GAPS),
  ];
}

/**
 * @param {Zone} zone
 * @param {Bar[]} bars
 */
function isNear(zone, bars) {
  const recent = bars.slice(-14);
  const last = recent.at(-1);
  if (!last) return false;
  const range = recent.reduce((sum, each) => sum + each.high - each.low, 0) / recent.length;
  const away = Math.max(zone.bottom - last.close, last.close - zone.top, 0);
  return away <= NEAR_RANGES * range;
}
