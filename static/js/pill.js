// @ts-check
/** The connection pill and the feed's age: our own socket and the exchange's feed are two facts. */

import { live } from "./live.js";
import { duration } from "./times.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  polling: "Polling",
  offline: "Offline",
  stale: "Stale",
};
const TITLES = {
  connecting: "Connecting to the live feed",
  live: "Socket connected, feed up to date",
  reconnecting: "Socket lost, trying again",
  polling: "Sockets are blocked here; the page asks every few seconds instead",
  offline: "This device is offline",
  stale: "Socket connected, but the exchange's feed has fallen silent",
};
const PING_MS = 15_000;

let feedState = "";

/**
 * @param {keyof typeof WORDS} state
 * @param {string} figure
 */
function show(state, figure) {
  const pill = document.getElementById("connection");
  if (!pill) return;
  pill.dataset.state = state;
  pill.title = TITLES[state];
  const word = pill.querySelector("[data-word]");
  if (word && word.textContent !== WORDS[state]) word.textContent = WORDS[state];
  const small = pill.querySelector("[data-figure]");
  if (small && figure !== small.textContent) small.textContent = figure;
}

/** @param {string} figure */
function showLive(figure = "") {
  show(feedState === "stale" ? "stale" : "live", figure);
}

/** @param {any} status what the `status` channel tells */
function hearStatus(status) {
  const state = String(status.state ?? status.feed ?? "");
  feedState = ["stale", "down", "halted", "lost"].includes(state) ? "stale" : state;
  const age = status.age_ms ?? status.lag_ms?.p50 ?? null;
  const place = document.querySelector("[data-feed-age]");
  if (place) place.textContent = age === null ? state || "connected" : `${state || "live"} · ${duration(age / 1000)}`;
  showBanner(feedState === "stale", status);
  if (live.state === "live") showLive();
}

/**
 * @param {boolean} isStale
 * @param {any} status
 */
function showBanner(isStale, status) {
  const place = document.getElementById("banners");
  const shown = place?.querySelector("[data-banner=stale]");
  if (!isStale) shown?.remove();
  if (!isStale || shown || !place) return;
  const banner = document.createElement("div");
  banner.className = "banner banner-warn";
  banner.dataset.banner = "stale";
  const name = status.source === "replay" ? "The replay exchange" : "Binance";
  banner.textContent = `${name} has sent nothing for longer than expected. Prices and signals below may be old.`;
  place.append(banner);
}

export function keepPill() {
  document.addEventListener("live:state", (event) => {
    const { state, seconds } = /** @type {CustomEvent} */ (event).detail;
    if (state === "live") showLive();
    else show(state, state === "reconnecting" && seconds ? `${seconds} s` : "");
  });
  document.addEventListener("live:beat", (event) => {
    const { rtt } = /** @type {CustomEvent} */ (event).detail;
    if (rtt !== null) showLive(`${rtt} ms`);
  });
  live.subscribe("status", (message) => message.t === "status" && hearStatus(message));
  setInterval(() => live.ping(), PING_MS);
}
