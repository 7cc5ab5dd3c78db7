// @ts-check
/** The market overview's prices, as candles form; biases are asked for now and then. */

import { priceText } from "./figures.js";
import { live } from "./live.js";

const REFRESH_MS = 20_000;
const PAINT_MS = 250;

export function keepMarket() {
  if (!document.getElementById("market")) return;
  /** @type {Map<string, number>} the newest price of each pair that is not painted yet */
  const prices = new Map();
  for (const cell of document.querySelectorAll("[data-price][data-timeframe]")) {
    const symbol = cell.getAttribute("data-price") ?? "";
    live.subscribe(`k:${symbol}:${cell.getAttribute("data-timeframe")}`, (message) => {
      if (message.t === "kline") prices.set(symbol, message.close);
    });
  }
  setInterval(() => {
    if (document.hidden) return;
    for (const cell of document.querySelectorAll("[data-price]")) {
      const price = prices.get(cell.getAttribute("data-price") ?? "");
      const decimals = cell.getAttribute("data-decimals");
      if (price !== undefined) cell.textContent = priceText(price, decimals ? Number(decimals) : null);
    }
    prices.clear();
  }, PAINT_MS);
  const refresh = () => {
    const market = document.getElementById("market");
    const isBusy = market?.matches(":hover") || market?.contains(document.activeElement);
    if (market && !document.hidden && !isBusy) window.htmx.trigger(market, "refresh");
  };
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("live:poll", refresh);
}
