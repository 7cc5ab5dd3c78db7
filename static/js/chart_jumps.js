// @ts-check
/** Ways to a place on the chart: `#sig=` to a signal, `#t=` to a trade of a run, `from` and `to` to a range. */

import { momentOf } from "./chart_data.js";
import { showNote } from "./chart_note.js";
import { fetchTrade } from "./chart_trades.js";
import { indexOf } from "./smc_shapes.js";

/** @typedef {import("./chart_page.js").ChartPage} ChartPage */

/** @param {ChartPage} page */
export async function followHash(page) {
  const asked = new URLSearchParams(location.hash.slice(1));
  const [sig, trade] = [asked.get("sig"), asked.get("t")];
  const run = new URLSearchParams(location.search).get("run");
  if (sig) await showSignal(page, sig);
  else if (trade && run) await showTrade(page, run, Number(trade));
}

/** Show the range of a link that was copied. @param {ChartPage} page */
export async function followRange(page) {
  const asked = new URLSearchParams(location.search);
  const [from, to] = [momentOf(asked.get("from")), momentOf(asked.get("to"))];
  if (from === null || to === null || from >= to || !page.series.bars.length) return;
  await page.series.reach(from);
  page.view.chart.timeScale().setVisibleRange({ from, to });
}

/**
 * @param {ChartPage} page
 * @param {string} id
 */
export async function showSignal(page, id) {
  const event = Number(id.split(".").at(-2)) / 1000;
  if (!Number.isFinite(event)) return;
  await page.series.reach(event);
  page.view.layer.change({ chosen: id });
  const known = page.series.signals.get(id);
  if (known) page.view.centre(indexOf(page.view.bars, known.event));
}

/**
 * @param {ChartPage} page
 * @param {string} run
 * @param {number} number of the trade, from 1
 */
async function showTrade(page, run, number) {
  page.trade = await fetchTrade(run, number).catch(() => null);
  if (!page.trade) {
    showNote("That trade is not on record any more.");
    return;
  }
  await page.series.reach(page.trade.entryTime);
  page.drawShapes();
  page.view.centre(indexOf(page.view.bars, page.trade.entryTime));
}
