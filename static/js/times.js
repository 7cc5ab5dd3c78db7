// @ts-check
/** Times in the visitor's zone. Data stay UTC; only what is read is turned. */

import { facts } from "./facts.js";

/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) =>
  new Intl.DateTimeFormat("en-GB", { timeZone: facts.zone, hourCycle: "h23", ...options });

export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const numbers = format({
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/**
 * The calendar parts of an instant in the visitor's zone.
 * @param {number} ms UTC milliseconds
 * @returns {{year: number, month: number, day: number, hour: number, minute: number, second: number}}
 */
export function parts(ms) {
  const read = /** @type {any} */ ({});
  for (const part of numbers.formatToParts(ms)) {
    if (part.type !== "literal") read[part.type] = Number(part.value);
  }
  return read;
}

/** @param {number} value */
export const two = (value) => String(value).padStart(2, "0");

/** @param {number} ms */
export function clock(ms) {
  const at = parts(ms);
  return `${two(at.hour)}:${two(at.minute)}`;
}

/** @param {number} ms */
export function day(ms) {
  const at = parts(ms);
  return `${two(at.day)} ${MONTHS[at.month - 1]}`;
}

/** @param {number} ms */
export function short(ms) {
  const { year } = parts(ms);
  return year === parts(marketNow()).year ? `${day(ms)} ${clock(ms)}` : `${day(ms)} ${year} ${clock(ms)}`;
}

/** @param {number} ms */
export function long(ms) {
  const at = parts(ms);
  return `${day(ms)} ${at.year} ${clock(ms)}:${two(at.second)} ${facts.zone}`;
}

/**
 * A length of time in its largest unit.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds >= 2 * 86_400) return `${Math.round(seconds / 86_400)} d`;
  if (seconds >= 3_600) return `${Math.round(seconds / 3_600)} h`;
  if (seconds >= 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.max(0, Math.round(seconds))} s`;
}

/** How far the market's clock is ahead of this machine's, ms: a replayed market runs at its own speed. */
let marketAhead = 0;

/** @param {number} ms */
export function setMarketTime(ms) {
  marketAhead = ms - Date.now();
}

const marketNow = () => Date.now() + marketAhead;

/** @param {number} ms */
function ago(ms) {
  const seconds = (marketNow() - ms) / 1000;
  return seconds < 5 ? "now" : `${duration(seconds)} ago`;
}

const STYLES = { short, long, ago, day: (/** @type {number} */ ms) => `${day(ms)} ${parts(ms).year}` };

/**
 * Write every `<time data-style>` below `root` in the visitor's zone.
 * @param {ParentNode} root
 */
export function writeTimes(root) {
  for (const element of root.querySelectorAll("time[data-style]")) {
    const ms = Date.parse(element.getAttribute("datetime") ?? "");
    const style = /** @type {keyof typeof STYLES} */ (element.getAttribute("data-style"));
    if (Number.isNaN(ms) || !(style in STYLES)) continue;
    const text = STYLES[style](ms);
    if (element.textContent !== text) element.textContent = text;
    element.setAttribute("title", long(ms));
  }
}

export function keepTimes() {
  document.addEventListener("htmx:afterSwap", (event) => writeTimes(/** @type {HTMLElement} */ (event.target)));
  setInterval(() => document.hidden || writeTimes(document), 10_000);
}
