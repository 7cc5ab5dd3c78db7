// @ts-check
/** Rows that lead somewhere: a click or Enter on the row follows its first link, or opens it in the drawer. */

export function keepRows() {
  /** @param {Element} row */
  const follow = (row) => /** @type {HTMLElement | null} */ (row.querySelector("a[data-main], a"))?.click();

  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest("tr[data-row]");
    if (!row || target.closest("a, button, input, label, summary") || getSelection()?.toString()) return;
    follow(row);
  });
  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.key === "Enter" && target.matches("tr[data-row]")) {
      event.preventDefault();
      follow(target);
    }
  });
}
