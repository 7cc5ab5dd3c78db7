// @ts-check
/** The search box as a combobox: arrows choose, Enter opens the chart, Escape closes. The server finds. */

export function keepSearch() {
  const input = /** @type {HTMLInputElement | null} */ (document.getElementById("search"));
  const hits = document.getElementById("hits");
  const form = input?.form;
  if (!input || !hits || !form) return;
  let chosen = -1;

  const options = () => /** @type {HTMLElement[]} */ ([...hits.querySelectorAll("[role=option]")]);
  /** @param {boolean} isOpen */
  const open = (isOpen) => {
    hits.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) choose(-1);
  };
  /** @param {number} index */
  const choose = (index) => {
    const all = options();
    chosen = all.length ? Math.max(-1, Math.min(all.length - 1, index)) : -1;
    all.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
    const option = all[chosen];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };

  // Where one is on a chart, a pair opens in the same timeframe.
  const here = location.pathname.match(/^\/web\/chart\/[^/]+\/([^/]+)/);
  const timeframe = here?.[1];
  if (timeframe) {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "timeframe";
    field.value = timeframe;
    form.append(field);
    input.setAttribute("hx-include", "closest form");
  }

  hits.addEventListener("htmx:afterSwap", () => {
    open(document.activeElement === input);
    choose(input.value ? 0 : -1);
  });
  input.addEventListener("focus", () => hits.children.length && open(true));
  input.addEventListener("blur", () => setTimeout(() => open(false), 150));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      open(true);
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (hits.hidden) input.blur();
      open(false);
    } else if (event.key === "Enter") {
      const option = options()[chosen];
      // Suggestions may be those of an older text: the server then decides.
      if (option?.dataset.symbol?.startsWith(input.value.trim().toUpperCase())) {
        event.preventDefault();
        location.assign(/** @type {HTMLAnchorElement} */ (option).href);
      }
    }
  });
}
