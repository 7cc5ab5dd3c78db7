// @ts-check
/**
 * The time axis in the visitor's zone. Candle times stay true UTC (shifting them would double an hour each autumn);
 * only where days and hours begin on the axis, and how they are written, follows the zone.
 */

import { facts } from "./facts.js";
import { MONTHS, parts, two } from "./times.js";

const HOUR = 3_600;

/** @type {Map<number, number>} seconds the zone is ahead of UTC, by hour: a formatter for each bar would cost a second */
const offsets = new Map();

/** @param {number} time seconds */
function offsetAt(time) {
  const quarter = Math.floor(time / (HOUR / 4));
  let offset = offsets.get(quarter);
  if (offset === undefined) {
    const start = quarter * (HOUR / 4);
    const at = parts(start * 1000);
    offset = Date.UTC(at.year, at.month - 1, at.day, at.hour, at.minute, at.second) / 1000 - start;
    offsets.set(quarter, offset);
  }
  return offset;
}

/** The calendar of the zone, to be read by the UTC getters. @param {number} time seconds */
const local = (time) => new Date((time + offsetAt(time)) * 1000);

/** @param {number} time @param {number} type of the tick: 0 year, 1 month, 2 day, 3 time */
export function tickText(time, type) {
  const at = local(time);
  if (type === 0) return String(at.getUTCFullYear());
  if (type === 1) return MONTHS[at.getUTCMonth()];
  if (type === 2) return `${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]}`;
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
}

/** @param {number} time */
export function barText(time) {
  const at = local(time);
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return `${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()} ${clock} ${facts.zone}`;
}

/** How much a tick between two bars weighs. @param {Date | null} before @param {Date} after */
function weight(before, after) {
  if (!before) return 0;
  if (before.getUTCFullYear() !== after.getUTCFullYear()) return 70;
  if (before.getUTCMonth() !== after.getUTCMonth()) return 60;
  if (before.getUTCDate() !== after.getUTCDate()) return 50;
  const hour = after.getUTCHours();
  if (before.getUTCHours() !== hour) return hour % 12 === 0 ? 33 : hour % 6 === 0 ? 32 : hour % 3 === 0 ? 31 : 30;
  return after.getUTCMinutes() % 30 === 0 ? 22 : after.getUTCMinutes() % 5 === 0 ? 21 : 20;
}

/** @param {any} charts the library @returns {any} a behaviour of the horizontal scale, null for its own (UTC) */
export function zonedScale(charts) {
  if (facts.zone === "UTC") return null;
  return new (class extends charts.defaultHorzScaleBehavior() {
    /** @param {any[]} points @param {number} start */
    fillWeightsForPoints(points, start) {
      let before = start > 0 ? local(points[start - 1].originalTime) : null;
      for (let i = start; i < points.length; i += 1) {
        const after = local(points[i].originalTime);
        points[i].timeWeight = weight(before, after);
        before = after;
      }
    }
  })();
}
