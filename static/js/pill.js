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
  paused: "Paused",
};
const TITLES = {
  connecting: "Connecting to the live feed",
  live: "Socket connected, feed up to date",
  reconnecting: "Socket lost, trying again",
  polling: "Sockets are blocked here; the page asks every few seconds instead",
  offline: "This device is offline",
  stale: "Socket connected, but the exchange's feed has fallen silent",
  paused: "Socket connected, but our own live updates are paused; the page asks every few seconds instead",
};
const PING_MS = 15_000;

/** @type {"live" | "stale" | "paused"} */
let feedState = "live";

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
  show(feedState, figure);
}

/** @param {number} ms */
const delayText = (ms) => (ms < 1_000 ? `${Math.round(ms)} ms` : duration(ms / 1_000));

/** @param {any} status what the `status` channel tells */
function hearStatus(status) {
  feedState = status.paused ? "paused" : status.state === "down" ? "stale" : "live";
  live.pause(feedState === "paused");
  const state = status.state.replace("_", " ");
  const delay = status.lag_ms?.p50 ?? null;
  const place = document.querySelector("[data-feed-age]");
  if (place) place.textContent = delay === null ? state : `${state} · ${delayText(delay)}`;
  showBanner(notice(status));
  if (live.state === "live") showLive();
}

/**
 * What is wrong with the live path, in a sentence; nothing when all is well.
 * @param {any} status
 */
function notice(status) {
  const name = status.source === "replay" ? "The replay exchange" : "Binance";
  const error = String(status.error ?? "");
  const told = error ? `${error.charAt(0).toUpperCase()}${error.slice(1)}.` : "";
  if (feedState === "live") return told;
  return `${told || `${name} has sent nothing for longer than expected.`} Prices and signals below may be old.`;
}

/** @param {string} text */
function showBanner(text) {
  const place = document.getElementById("banners");
  let banner = /** @type {HTMLElement | null | undefined} */ (place?.querySelector("[data-banner=stale]"));
  if (!text) banner?.remove();
  if (!text || !place) return;
  if (!banner) {
    banner = document.createElement("div");
    banner.className = "banner banner-warn";
    banner.dataset.banner = "stale";
    place.append(banner);
  }
  if (banner.textContent !== text) banner.textContent = text;
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
