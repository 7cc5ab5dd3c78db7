// @ts-check
/**
 * Live lists of signals. New rows come in at the top, once; while someone reads the list they wait behind a button.
 * The markup is the server's: it arrives by the socket, or is asked for when only the facts arrived.
 */

import { facts, announce } from "./facts.js";
import { live } from "./live.js";
import { hearSignal } from "./alerts.js";
import { setMarketTime, writeTimes } from "./times.js";

const FETCH_MS = 2_000;
const LONGEST = 60;

/**
 * The name of the same find at the other scale: a gap is three candles, and both scales tell of it.
 * @param {string} id
 */
const twinOf = (id) => id.replace(/\.(swing|internal)\./, (_, scale) => (scale === "swing" ? ".internal." : ".swing."));

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
    /** @type {HTMLElement[]} */
    const fresh = [];
    for (const row of wanted) {
      const shown = document.getElementById(row.id);
      const held = this.waiting.findIndex((each) => each.id === row.id);
      if (shown && this.list.contains(shown)) shown.replaceWith(row);
      else if (held >= 0) this.waiting[held] = row;
      else if (!this.hasTwin(row, fresh)) fresh.push(row);
    }
    this.waiting.unshift(...fresh);
    if (this.isRead) this.offer();
    else this.showWaiting();
  }

  /**
   * @param {HTMLElement} row
   * @param {HTMLElement[]} fresh
   */
  hasTwin(row, fresh) {
    const twin = twinOf(row.id);
    return twin !== row.id && [...fresh, ...this.waiting, ...this.list.children].some((each) => each.id === twin);
  }

  /** What the server lists now: rows that are shown are brought up to date, others are new. @param {HTMLElement[]} rows */
  replace(rows) {
    const fresh = [];
    for (const row of rows) {
      const shown = document.getElementById(row.id) ?? document.getElementById(twinOf(row.id));
      if (!shown) fresh.push(row);
      else if (shown.dataset.status !== row.dataset.status && !this.isRead) {
        shown.replaceWith(row);
        window.htmx.process(row);
      }
    }
    if (fresh.length) this.add(fresh);
    writeTimes(this.list);
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

/** @type {WeakMap<Element, SignalList>} */
const known = new WeakMap();

/** The lists on the page now: htmx may have put another one in the place of one that was there. */
function lists() {
  return /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-live=signals]")]).map((element) => {
    const list = known.get(element) ?? new SignalList(element);
    known.set(element, list);
    return list;
  });
}

export function keepSignalLists() {
  let timer = 0;
  lists();
  document.addEventListener("htmx:afterSettle", lists);
  /** Ask for the newest rows, at most once in a while. */
  const fetchRows = () => {
    timer ||= setTimeout(async () => {
      timer = 0;
      for (const list of lists()) {
        const headers = { "HX-Request": "true", "HX-Target": "signal-list" };
        const answer = await fetch(list.list.dataset.rows ?? "", { headers }).catch(() => null);
        if (answer?.ok) list.replace(rowsOf(await answer.text()));
      }
    }, FETCH_MS);
  };

  /** @type {Set<string>} names of the signals that rules were asked about */
  const called = new Set();
  live.subscribe("signals", (message) => {
    if (message.t === "signal") {
      if (!called.has(twinOf(message.id))) hearSignal(/** @type {any} */ (message));
      if (called.size > 500) called.clear();
      called.add(message.id);
      if (message.confirmed_at) setMarketTime(Date.parse(message.confirmed_at));
    }
    if (message.html) for (const list of lists()) list.add(rowsOf(message.html));
    else if (message.t === "reset" || document.getElementById(`s-${message.id}`)) fetchRows();
  });
  document.addEventListener("live:poll", fetchRows);
  document.addEventListener("watch:changed", () => lists().forEach((list) => list.filter()));
  for (const chip of document.querySelectorAll("[data-show]")) {
    chip.addEventListener("click", () => {
      for (const other of chip.parentElement?.querySelectorAll("[data-show]") ?? []) {
        other.setAttribute("aria-pressed", String(other === chip));
      }
      lists().forEach((list) => list.filter());
    });
  }
}
