// @ts-check
/**
 * Live lists of signals. New rows come in at the top, once; while someone reads the list they wait behind a button.
 * The markup is the server's: it arrives by the socket, or is asked for when only the facts arrived.
 */

import { facts, announce } from "./facts.js";
import { live } from "./live.js";
import { hearSignal } from "./alerts.js";
import { setMarketTime, writeTimes } from "./times.js";

const GATHER_MS = 200;
const LONGEST = 60;

class SignalList {
  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
    this.button = /** @type {HTMLButtonElement | null} */ (
      list.closest("section")?.querySelector("[data-show-new]") ?? null
    );
    /** @type {HTMLElement[]} rows that wait, the newest first */
    this.waiting = [];
    this.isPaused = false;
    this.button?.addEventListener("click", () => this.showWaiting());
    const pause = list.closest("section")?.querySelector("[data-pause]");
    pause?.addEventListener("click", () => {
      this.isPaused = !this.isPaused;
      pause.setAttribute("aria-pressed", String(this.isPaused));
      if (!this.isPaused) this.showWaiting();
    });
    this.filter();
  }

  get isRead() {
    return (
      this.isPaused ||
      this.list.matches(":hover") ||
      this.list.contains(document.activeElement) ||
      this.list.scrollTop > 8
    );
  }

  /** @param {HTMLElement} row */
  accepts(row) {
    const { symbol, timeframe } = this.list.dataset;
    return (!symbol || row.dataset.symbol === symbol) && (!timeframe || row.dataset.timeframe === timeframe);
  }

  /** @param {HTMLElement[]} rows the newest first */
  add(rows) {
    const wanted = rows.filter((row) => this.accepts(row));
    const fresh = [];
    for (const row of wanted) {
      const shown = document.getElementById(row.id);
      const held = this.waiting.findIndex((each) => each.id === row.id);
      if (shown && this.list.contains(shown)) shown.replaceWith(row);
      else if (held >= 0) this.waiting[held] = row;
      else fresh.push(row);
    }
    this.waiting.unshift(...fresh);
    if (this.isRead) this.offer();
    else this.showWaiting();
  }

  offer() {
    if (!this.button) return;
    this.button.hidden = this.waiting.length === 0;
    this.button.textContent = `${this.waiting.length} new ↑`;
  }

  showWaiting() {
    const rows = this.waiting.splice(0);
    for (const row of rows) {
      row.classList.add("is-new");
      setTimeout(() => row.classList.remove("is-new"), 8_000);
    }
    this.list.prepend(...rows);
    for (const row of rows) window.htmx.process(row);
    const all = this.list.querySelectorAll("[data-signal-id]");
    for (let i = LONGEST; i < all.length; i += 1) all[i]?.remove();
    writeTimes(this.list);
    this.filter();
    this.offer();
    if (rows.length) announce(rows.length === 1 ? "1 new signal" : `${rows.length} new signals`);
  }

  /** Show what the chips above the list ask for. */
  filter() {
    const chip = this.list.closest("section")?.querySelector("[data-show][aria-pressed=true]");
    const show = chip?.getAttribute("data-show") ?? "all";
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll("[data-signal-id]"))) {
      const isWanted =
        show === "all" ||
        (show === "up" && row.dataset.direction === "1") ||
        (show === "down" && row.dataset.direction === "-1") ||
        (show === "watched" && facts.watched.includes(row.dataset.symbol ?? ""));
      row.hidden = !isWanted;
    }
  }
}

/** @param {string} html */
function rowsOf(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return /** @type {HTMLElement[]} */ ([...holder.content.querySelectorAll("[data-signal-id]")]);
}

export function keepSignalLists() {
  const lists = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-live=signals]")]).map(
    (list) => new SignalList(list),
  );
  let timer = 0;
  /** Ask for the newest rows, at most once in a while. */
  const fetchRows = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      for (const list of lists) {
        const answer = await fetch(list.list.dataset.rows ?? "", { headers: { "HX-Request": "true", "HX-Target": "signal-list" } });
        if (answer.ok) list.add(rowsOf(await answer.text()).filter((row) => !document.getElementById(row.id)));
      }
    }, GATHER_MS);
  };

  live.subscribe("signals", (message) => {
    if (message.t === "signal") {
      hearSignal(/** @type {any} */ (message));
      if (message.confirmed_at) setMarketTime(Date.parse(message.confirmed_at));
      document.dispatchEvent(new CustomEvent("live:signal", { detail: message }));
    }
    if (message.t === "html") for (const list of lists) list.add(rowsOf(message.html));
    else if (lists.length && ["signal", "mark", "reset"].includes(message.t)) fetchRows();
  });
  document.addEventListener("live:poll", () => lists.length && fetchRows());
  document.addEventListener("watch:changed", () => lists.forEach((list) => list.filter()));
  for (const chip of document.querySelectorAll("[data-show]")) {
    chip.addEventListener("click", () => {
      for (const other of chip.parentElement?.querySelectorAll("[data-show]") ?? []) {
        other.setAttribute("aria-pressed", String(other === chip));
      }
      lists.forEach((list) => list.filter());
    });
  }
}
