// @ts-check
/** Short notes in the corner: news goes by itself, errors stay until they are closed. */

const SHOWN_MS = 7_000;
const MOST = 4;

/**
 * @param {string} text
 * @param {{href?: string, isError?: boolean}} [options]
 */
export function toast(text, { href, isError = false } = {}) {
  const place = document.getElementById("toasts");
  if (!place) return;
  const note = document.createElement("div");
  note.className = isError ? "toast toast-danger" : "toast";
  note.setAttribute("role", isError ? "alert" : "status");
  const words = document.createElement(href ? "a" : "span");
  words.textContent = text;
  if (href && words instanceof HTMLAnchorElement) words.href = href;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "✕";
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => note.remove());
  note.append(words, close);
  place.append(note);
  while (place.children.length > MOST) place.firstElementChild?.remove();
  if (!isError) setTimeout(() => note.remove(), SHOWN_MS);
}

/** What an htmx request could not do is said in words, with the request's id. */
export function keepToasts() {
  document.addEventListener("htmx:responseError", (event) => {
    const xhr = /** @type {CustomEvent} */ (event).detail.xhr;
    const id = xhr.getResponseHeader("X-Request-ID");
    const wait = xhr.getResponseHeader("Retry-After");
    const why =
      xhr.status === 429
        ? `Too many requests; try again in ${wait ?? "a few"} s.`
        : xhr.status === 503
          ? "A part of the service is down; nothing was changed."
          : `That did not work (${xhr.status}).`;
    toast(id ? `${why} Request ${id}` : why, { isError: true });
  });
  document.addEventListener("htmx:sendError", () => {
    toast("The server did not answer; nothing was changed.", { isError: true });
  });
}
