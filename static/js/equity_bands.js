// @ts-check
/** Monte Carlo bands over the equity: fetched when they are first asked for, then shown and hidden. */

import { ApiError, ask } from "./chart_data.js";
import { toast } from "./toasts.js";

/** @typedef {{time: number, value: number}} Point */

/**
 * @param {string} path
 * @returns {Promise<Point[][]>} the lines, from low to high; none where the trades allow none
 */
async function fetchLines(path) {
  const { bands } = await ask(path, { resampling: "block" });
  if (!bands) return [];
  const times = bands.time.map((/** @type {string} */ text) => Math.round(Date.parse(text) / 1000));
  return ["0.05", "0.5", "0.95"].map((level) =>
    bands.equity[level]
      .map((/** @type {number} */ value, /** @type {number} */ i) => ({ time: times[i], value }))
      // Of trades that end in one moment the last tells where the account stands.
      .filter((/** @type {Point} */ point, /** @type {number} */ i) => point.time !== times[i + 1]),
  );
}

/**
 * @param {HTMLElement} button with the path of the bands in ``data-bands``
 * @param {(points: Point[], isMiddle: boolean) => any} draw one line; returns its series
 */
export function offerBands(button, draw) {
  const legend = document.getElementById("bands-legend");
  /** @type {any[]} */
  let drawn = [];
  const load = async () => {
    button.setAttribute("aria-busy", "true");
    try {
      drawn = (await fetchLines(button.dataset.bands ?? "")).map((points, i) => draw(points, i === 1));
      if (!drawn.length) toast("No bands: the run has no closed trade, or lost its whole account.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(`The bands could not be loaded: ${error.message}`, { isError: true });
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  button.addEventListener("click", async () => {
    if (button.hasAttribute("aria-busy")) return;
    if (!drawn.length) await load();
    if (!drawn.length) return;
    const isShown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isShown));
    if (legend) legend.hidden = !isShown;
    for (const line of drawn) line.applyOptions({ visible: isShown });
  });
}
