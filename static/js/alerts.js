// @ts-check
/** Calling for attention by the visitor's own rules: toast, sound, notification, a number in the title. */

import { facts, keep } from "./facts.js";
import { toast } from "./toasts.js";

/** @type {AudioContext | null} */
let sounds = null;
let unseen = 0;
const title = document.title;

/**
 * @typedef {{id: string, symbol: string, timeframe: string, kind: string, direction: number, strength: number,
 *   level: number, late?: boolean}} Signal
 */

/**
 * @param {Signal} signal
 * @param {import("./facts.js").AlertRule} rule
 */
export function matches(signal, rule) {
  return (
    (!rule.symbol || rule.symbol === signal.symbol) &&
    (!rule.timeframe || rule.timeframe === signal.timeframe) &&
    (!rule.kind || rule.kind === signal.kind) &&
    signal.strength >= rule.strength
  );
}

/** Two short notes, rising for a bullish signal and falling for a bearish one. @param {number} direction */
function ring(direction) {
  if (!sounds || sounds.state !== "running" || !facts.sound) return;
  const notes = direction > 0 ? [660, 880] : [660, 495];
  notes.forEach((pitch, i) => {
    if (!sounds) return;
    const at = sounds.currentTime + i * 0.14;
    const tone = sounds.createOscillator();
    const loud = sounds.createGain();
    tone.frequency.value = pitch;
    loud.gain.setValueAtTime(0.0001, at);
    loud.gain.exponentialRampToValueAtTime(0.12, at + 0.02);
    loud.gain.exponentialRampToValueAtTime(0.0001, at + 0.13);
    tone.connect(loud).connect(sounds.destination);
    tone.start(at);
    tone.stop(at + 0.15);
  });
}

/** @param {number} count */
function showUnseen(count) {
  unseen = count;
  document.title = count ? `(${count}) ${title}` : title;
  for (const badge of document.querySelectorAll("[data-unseen]")) {
    badge.textContent = String(count);
    badge.toggleAttribute("hidden", !count);
  }
}

/**
 * A new signal came in.
 * @param {Signal} signal
 */
export function hearSignal(signal) {
  if (signal.late) return;
  if (document.hidden) showUnseen(unseen + 1);
  const rules = facts.rules.filter((rule) => matches(signal, rule));
  if (!rules.length) return;
  const arrow = signal.direction > 0 ? "▲" : "▼";
  const text = `${arrow} ${signal.kind} ${signal.symbol} ${signal.timeframe}, strength ${Math.round(signal.strength)}`;
  const href = `/web/chart/${signal.symbol}/${signal.timeframe}#sig=${encodeURIComponent(signal.id)}`;
  toast(text, { href });
  if (rules.some((rule) => rule.sound)) ring(signal.direction);
  if (rules.some((rule) => rule.notify) && "Notification" in window && Notification.permission === "granted") {
    new Notification("SMC Signals", { body: text, tag: signal.id });
  }
}

/** Browsers allow sound only after a gesture: the bell is armed by its click. @param {Element} button */
function showBell(button) {
  const isBlocked = facts.sound && sounds?.state !== "running";
  button.setAttribute("aria-pressed", String(facts.sound));
  button.setAttribute("title", isBlocked ? "Alert sound: waits for a click" : `Alert sound: ${facts.sound ? "on" : "off"}`);
}

async function arm() {
  sounds ??= new AudioContext();
  if (sounds.state === "suspended") await sounds.resume();
}

export function keepAlerts() {
  const button = document.querySelector("[data-sound]");
  if (button) {
    showBell(button);
    button.addEventListener("click", async () => {
      facts.sound = !facts.sound;
      keep("sound", facts.sound ? "on" : "off");
      if (facts.sound) await arm();
      showBell(button);
      ring(1);
    });
    if (facts.sound) addEventListener("pointerdown", () => arm().then(() => showBell(button)), { once: true });
  }
  document.addEventListener("visibilitychange", () => document.hidden || showUnseen(0));
  document.addEventListener("click", async (event) => {
    const target = /** @type {Element} */ (event.target);
    if (target.closest("[data-test-alert]")) {
      facts.sound = true;
      await arm();
      ring(1);
      toast("▲ BOS BTCUSDT 15m, strength 80 (a test)");
    }
    const ask = target.closest("[data-ask-notifications]");
    if (ask) await askForNotifications(ask);
  });
}

/** @param {Element} button */
async function askForNotifications(button) {
  const place = document.getElementById("notification-state");
  if (!("Notification" in window)) {
    if (place) place.textContent = "This browser has no notifications.";
    return;
  }
  const answer = await Notification.requestPermission();
  if (place) {
    place.textContent =
      answer === "granted"
        ? "Notifications are allowed."
        : "Notifications are blocked. Allow them in the browser's settings for this site.";
  }
  button.toggleAttribute("hidden", answer === "granted");
}
