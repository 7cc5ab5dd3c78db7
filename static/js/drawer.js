// @ts-check
/** The drawer: opens when details were put into it, keeps focus inside, gives it back when it closes. */

export function keepDrawer() {
  const drawer = /** @type {HTMLDialogElement | null} */ (document.getElementById("drawer"));
  if (!drawer) return;
  /** @type {HTMLElement | null} */
  let opener = null;

  document.addEventListener("htmx:beforeRequest", (event) => {
    const detail = /** @type {CustomEvent} */ (event).detail;
    if (detail.target === drawer && !drawer.contains(detail.elt)) opener = detail.elt;
  });
  drawer.addEventListener("htmx:afterSwap", (event) => {
    if (event.target !== drawer) return;
    if (!drawer.open) drawer.showModal();
    const heading = drawer.querySelector("h2");
    if (heading) {
      heading.tabIndex = -1;
      heading.focus();
      drawer.setAttribute("aria-label", heading.textContent ?? "Details");
    }
  });
  drawer.addEventListener("close", () => {
    drawer.replaceChildren();
    opener?.focus();
  });
  drawer.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (target === drawer || target.closest("[data-close]")) drawer.close();
  });
}
