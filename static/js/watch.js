// @ts-check
/** The watchlist: stars everywhere tell the same, at once, and the cookie keeps them. */

import { facts, keep } from "./facts.js";

function show() {
  for (const star of document.querySelectorAll("[data-star]")) {
    const isWatched = facts.watched.includes(star.getAttribute("data-star") ?? "");
    star.setAttribute("aria-pressed", String(isWatched));
  }
  document.dispatchEvent(new CustomEvent("watch:changed"));
}

export function keepWatchlist() {
  document.addEventListener("submit", (event) => {
    const star = /** @type {SubmitEvent} */ (event).submitter?.closest("[data-star]");
    const symbol = star?.getAttribute("data-star");
    if (!symbol) return;
    event.preventDefault();
    const isWatched = facts.watched.includes(symbol);
    facts.watched = isWatched ? facts.watched.filter((each) => each !== symbol) : [...facts.watched, symbol];
    keep("watch", facts.watched.join(","));
    show();
  });
  document.addEventListener("htmx:afterSwap", show);
  show();
}
