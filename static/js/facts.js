// @ts-check
/** What the server told the page about its visitor, and the cookies that keep his choices. */

/**
 * @typedef {{symbol: string, timeframe: string, kind: string, strength: number, sound: boolean, notify: boolean}} AlertRule
 * @typedef {{zone: string, bars: number, sound: boolean, watched: string[], rules: AlertRule[]}} PageFacts
 */

/** @type {PageFacts} */
export const facts = Object.assign(
  { zone: "UTC", bars: 180, sound: false, watched: [], rules: [] },
  JSON.parse(document.getElementById("page-facts")?.textContent || "{}"),
);

const YEAR_SECONDS = 365 * 86_400;

/**
 * Keep a choice where the server reads it before the first paint.
 * @param {string} name
 * @param {string} value
 */
export function keep(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `smc_${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR_SECONDS}; samesite=lax${secure}`;
}

/**
 * Read a JSON block of the page.
 * @param {string} id
 * @returns {any} null when the page has none
 */
export function block(id) {
  const text = document.getElementById(id)?.textContent;
  return text ? JSON.parse(text) : null;
}

/**
 * Say something to screen readers, without a word on the screen.
 * @param {string} text
 */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = text;
}
