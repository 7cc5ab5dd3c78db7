// @ts-check
/** Words in the middle of the chart: that it is loading, that it is empty, or why it could not be loaded. */

const place = () => document.getElementById("chart-note");

/** @param {string} text nothing takes the note away */
export function showNote(text) {
  const note = place();
  if (!note) return;
  note.hidden = !text;
  note.textContent = text;
}

/** @param {unknown} error @param {() => void} retry */
export function showFailure(error, retry) {
  showNote("The chart could not be loaded.");
  const why = document.createElement("span");
  const { message, requestId } = /** @type {import("./chart_data.js").ApiError} */ (error);
  why.textContent = requestId ? `${message} Request ${requestId}` : message;
  const again = document.createElement("button");
  again.className = "btn btn-main";
  again.type = "button";
  again.textContent = "Try again";
  again.addEventListener("click", retry);
  place()?.append(why, again);
}
