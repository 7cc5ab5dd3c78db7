// @ts-check
/** A backtest's trade on the chart: entry, stop and target as boxes from entry to exit. */

import { ask } from "./chart_data.js";
import { indexOf } from "./smc_shapes.js";

/**
 * @typedef {{from: number, to: number, entry: number, stop: number | null, target: number | null, text: string}} Trade
 * @typedef {{entryTime: number, exitTime: number, entry: number, stop: number | null, target: number | null,
 *   direction: number, result: number | null}} TradeFacts
 */

/**
 * @param {string} run
 * @param {number} number of the trade, from 1
 * @returns {Promise<TradeFacts | null>}
 */
export async function fetchTrade(run, number) {
  const answer = await ask(`/api/v1/backtests/${encodeURIComponent(run)}/trades/`, { limit: 1, cursor: number - 1 });
  const row = answer.results.find((/** @type {any} */ each) => Number(each.trade) === number);
  if (!row) return null;
  return {
    entryTime: Date.parse(row.entry_time) / 1000,
    exitTime: Date.parse(row.exit_time) / 1000,
    entry: row.entry_price,
    stop: row.stop_price,
    target: row.target_price,
    direction: Number(row.direction) || (row.direction === "long" ? 1 : -1),
    result: row.r_multiple,
  };
}

/**
 * @param {TradeFacts} facts
 * @param {import("./chart_data.js").Bar[]} bars
 * @returns {Trade}
 */
export function placeTrade(facts, bars) {
  const side = facts.direction > 0 ? "▲ LONG" : "▼ SHORT";
  const result = facts.result;
  const told = result === null ? "" : ` ${result < 0 ? "−" : "+"}${Math.abs(result).toFixed(2)}R`;
  return {
    from: indexOf(bars, facts.entryTime),
    to: Math.max(indexOf(bars, facts.exitTime), indexOf(bars, facts.entryTime) + 1),
    entry: facts.entry,
    stop: facts.stop,
    target: facts.target,
    text: `${side}${told}`,
  };
}
