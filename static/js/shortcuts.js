// @ts-check
/** Keys: `g` then a letter goes to a page, `/` searches, `?` shows the sheet, `j` and `k` walk through rows. */

const SECOND_KEY_MS = 1_200;

/** @param {EventTarget | null} target */
export function isTyping(target) {
  return target instanceof HTMLElement && Boolean(target.closest("input, select, textarea, [contenteditable]"));
}

function showSheet() {
  const sheet = document.getElementById("shortcuts");
  if (sheet instanceof HTMLDialogElement && !sheet.open) {
    const opener = document.activeElement;
    sheet.showModal();
    sheet.addEventListener("close", () => opener instanceof HTMLElement && opener.focus(), { once: true });
  }
}

/** @param {number} step */
function walk(step) {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main [data-row]")]).filter(
    (row) => row.offsetParent !== null,
  );
  if (!rows.length) return;
  const here = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement?.closest("[data-row]")));
  const next = rows[Math.min(rows.length - 1, Math.max(0, here + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

export function keepShortcuts() {
  let first = "";
  let firstAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]") && event.key !== "Escape") return;
    const page = document.querySelector(`nav [data-key="${CSS.escape(event.key)}"]`);
    if (first === "g" && Date.now() - firstAt < SECOND_KEY_MS && page instanceof HTMLAnchorElement) {
      first = "";
      location.assign(page.href);
      return;
    }
    first = event.key;
    firstAt = Date.now();
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("search")?.focus();
    } else if (event.key === "?") {
      event.preventDefault();
      showSheet();
    } else if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
  });
  document.querySelector("[data-shortcuts]")?.addEventListener("click", (event) => {
    if (/** @type {MouseEvent} */ (event).metaKey || /** @type {MouseEvent} */ (event).ctrlKey) return;
    event.preventDefault();
    showSheet();
  });
}
