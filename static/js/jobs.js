// @ts-check
/** Jobs on the page: their parts are asked for anew when the socket tells of them, or every two seconds without it. */

import { live } from "./live.js";

const POLL_MS = 2_000;

/** @type {Map<string, () => void>} */
const heard = new Map();

/** @param {Element} job */
const isEnded = (job) => ["done", "failed", "cancelled"].includes(job.getAttribute("data-state") ?? "");

/** @param {string} id */
function refresh(id) {
  const job = document.getElementById(`job-${id}`);
  if (job) window.htmx.trigger(job, "refresh");
}

/** A page that waits for its job becomes the result. */
function reloadWhenDone() {
  const waiting = document.querySelector("[data-reload-when-done]");
  const job = document.getElementById(`job-${waiting?.getAttribute("data-reload-when-done")}`);
  if (job && isEnded(job)) location.reload();
}

function watch() {
  reloadWhenDone();
  /** @type {Set<string>} */
  const here = new Set();
  for (const job of document.querySelectorAll("[data-job]")) {
    const id = job.getAttribute("data-job") ?? "";
    if (isEnded(job)) continue;
    here.add(id);
    if (!heard.has(id)) heard.set(id, live.subscribe(`job:${id}`, () => refresh(id)));
  }
  for (const [id, stop] of heard) {
    if (here.has(id)) continue;
    stop();
    heard.delete(id);
  }
}

/**
 * A button that is replaced between press and release never hears its click: what came meanwhile is left out, and the
 * next refresh brings it.
 * @param {Event} event
 */
function leavePressed(event) {
  const { detail, target } = /** @type {CustomEvent<{ shouldSwap: boolean }>} */ (event);
  if (target instanceof Element && target.closest("[data-job]")?.querySelector(":active")) detail.shouldSwap = false;
}

export function keepJobs() {
  watch();
  document.addEventListener("htmx:beforeSwap", leavePressed);
  document.addEventListener("htmx:afterSettle", watch);
  setInterval(() => {
    if (!document.hidden) for (const id of heard.keys()) refresh(id);
  }, POLL_MS);
}
