// @ts-check
/** Switching dark, light and the system's own without a reload; charts hear `theme:changed` and repaint. */

import { keep } from "./facts.js";

const ORDER = ["dark", "light", "system"];
const NAMES = { dark: "dark", light: "light", system: "as the system" };

function tell() {
  document.dispatchEvent(new CustomEvent("theme:changed"));
}

export function keepTheme() {
  const button = document.querySelector("[data-theme-switch]");
  button?.addEventListener("click", (event) => {
    event.preventDefault();
    const root = document.documentElement;
    const next = ORDER[(ORDER.indexOf(root.dataset.theme ?? "dark") + 1) % ORDER.length] ?? "dark";
    root.dataset.theme = next;
    keep("theme", next);
    button.setAttribute("title", `Theme: ${NAMES[/** @type {keyof typeof NAMES} */ (next)]}`);
    tell();
  });
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", tell);
}

/**
 * The colours of the theme as the canvas needs them: resolved, since it knows no custom properties.
 * @template {string} Name
 * @param {Record<Name, string>} names our name to the CSS custom property
 * @returns {Record<Name, string>}
 */
export function colours(names) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const read = /** @type {Record<Name, string>} */ ({});
  for (const name of /** @type {Name[]} */ (Object.keys(names))) {
    probe.style.color = `var(${names[name]})`;
    read[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return read;
}

/**
 * @param {string} colour rgb(…), as `colours` reads them
 * @param {number} share
 */
export const alpha = (colour, share) =>
  colour.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, `rgba($1,$2,$3,${share})`);
