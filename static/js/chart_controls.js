// @ts-check
/** The buttons above the chart: timeframe, overlays, scale, replay, all zones, share. */

import { announce } from "./facts.js";
import { iso } from "./chart_data.js";
import { toast } from "./toasts.js";
import { short } from "./times.js";

const PLAY_MS = 350;
const FIRST_BARS = 50;

/** @param {string} selector @returns {HTMLElement[]} */
const all = (selector) => [...document.querySelectorAll(selector)].map((each) => /** @type {HTMLElement} */ (each));

/** @param {import("./chart_page.js").ChartPage} page */
export function bindControls(page) {
  bindTimeframes(page);
  bindOverlays(page);
  bindReplay(page);
  document.querySelector("[data-all]")?.addEventListener("click", (event) => {
    page.showAll = !page.showAll;
    /** @type {Element} */ (event.currentTarget).setAttribute("aria-pressed", String(page.showAll));
    page.drawShapes();
  });
  document.querySelector("[data-share]")?.addEventListener("click", () => share(page));
}

/** @param {import("./chart_page.js").ChartPage} page */
function bindTimeframes(page) {
  const radios = all("[data-timeframe]").filter((each) => each.getAttribute("role") === "radio");
  page.listeners.push(() => {
    for (const radio of radios) {
      const isHere = radio.dataset.timeframe === page.timeframe;
      radio.setAttribute("aria-checked", String(isHere));
      radio.tabIndex = isHere ? 0 : -1;
    }
    const label = document.querySelector("[data-timeframe-label]");
    if (label) label.textContent = label.textContent?.replace(/^\S+/, page.timeframe) ?? "";
    page.view.host.setAttribute(
      "aria-label",
      `${page.symbol} ${page.timeframe} chart with Smart Money Concepts overlays. The Events table lists the same.`,
    );
    const link = /** @type {HTMLAnchorElement | null} */ (document.querySelector("[data-download]"));
    if (link) link.href = `/api/v1/candles/?symbol=${page.symbol}&timeframe=${page.timeframe}&limit=5000&format=csv`;
  });
  for (const radio of radios) {
    radio.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      page.go(radio.dataset.timeframe ?? page.timeframe);
    });
    radio.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      const next = step ? radios[(radios.indexOf(radio) + step + radios.length) % radios.length] : radio;
      next?.focus();
      next?.click();
    });
  }
  addEventListener("popstate", async (event) => {
    if (location.pathname.split("/")[3] !== page.symbol) return location.reload();
    const former = page.timeframe;
    page.readUrl();
    showPressed(page);
    if (page.timeframe === former) {
      page.refreshPanels();
      return page.showMoment();
    }
    await page.show();
    const range = event.state?.range;
    if (range) page.view.chart.timeScale().setVisibleRange(range);
    return undefined;
  });
}

/** @param {import("./chart_page.js").ChartPage} page */
function showPressed(page) {
  for (const button of all("[data-ov]")) {
    button.setAttribute("aria-pressed", String(page.shown.has(button.dataset.ov ?? "")));
  }
  for (const button of all("[data-scope]")) {
    button.setAttribute("aria-pressed", String(button.dataset.scope === page.scale));
  }
}

/** @param {import("./chart_page.js").ChartPage} page */
function bindOverlays(page) {
  for (const button of all("[data-ov]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.ov ?? "";
      if (!page.shown.delete(name)) page.shown.add(name);
      showPressed(page);
      page.drawShapes();
      page.noteState();
    });
  }
  for (const button of all("[data-scope]")) {
    button.addEventListener("click", () => {
      page.scale = button.dataset.scope ?? "";
      showPressed(page);
      page.drawShapes();
      page.noteState();
    });
  }
}

/** @param {import("./chart_page.js").ChartPage} page */
function bindReplay(page) {
  const panel = document.getElementById("replay");
  const button = document.querySelector("[data-replay]");
  const slider = /** @type {HTMLInputElement | null} */ (document.getElementById("as-of"));
  const text = document.getElementById("as-of-text");
  const playButton = document.querySelector("[data-play]");
  if (!panel || !button || !slider || !text || !playButton) return;
  let timer = 0;

  const closed = () => page.series.bars.length;
  const show = () => {
    const count = closed();
    slider.min = String(Math.min(FIRST_BARS, count));
    slider.max = String(count);
    const at = page.asOf === null ? count : page.known.length;
    slider.value = String(at);
    text.textContent = page.asOf === null ? "now" : short(page.asOf * 1000);
    slider.setAttribute("aria-valuetext", text.textContent);
  };
  /** @param {number} index bars that are known */
  const goTo = (index) => {
    const count = closed();
    const bar = page.series.bars[index - 1];
    page.asOf = index >= count || !bar ? null : bar.time + page.series.step;
    page.draw();
    show();
    page.noteState();
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    playButton.setAttribute("aria-pressed", "false");
  };
  /** @param {boolean} isOpen */
  const open = (isOpen) => {
    panel.hidden = !isOpen;
    button.setAttribute("aria-pressed", String(isOpen));
    if (isOpen) show();
    else {
      stop();
      if (page.asOf !== null) goTo(closed());
    }
  };

  button.addEventListener("click", () => open(panel.hidden));
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  for (const each of all("[data-step]")) {
    each.addEventListener("click", () => goTo(Number(slider.value) + Number(each.dataset.step)));
  }
  document.querySelector("[data-now]")?.addEventListener("click", () => goTo(closed()));
  playButton.addEventListener("click", () => {
    if (timer) return stop();
    playButton.setAttribute("aria-pressed", "true");
    if (page.asOf === null) goTo(Math.max(FIRST_BARS, closed() - 100));
    timer = setInterval(() => {
      goTo(Number(slider.value) + 1);
      if (page.asOf === null) stop();
    }, PLAY_MS);
    return undefined;
  });
  const follow = () => {
    if (!panel.hidden) show();
    else if (page.asOf !== null) open(true);
  };
  page.listeners.push(follow);
  follow();
}

/** @param {import("./chart_page.js").ChartPage} page */
async function share(page) {
  const url = page.url;
  const { visibleFrom, visibleTo } = page.view.host.dataset;
  if (visibleFrom && visibleTo) {
    url.searchParams.set("from", iso(Number(visibleFrom)));
    url.searchParams.set("to", iso(Number(visibleTo)));
  }
  try {
    await navigator.clipboard.writeText(url.href);
    toast("The link is copied.");
  } catch {
    toast(url.href, { href: url.href });
  }
  announce("Link copied");
}
