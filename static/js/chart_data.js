// @ts-check
/** Candles and signals of one series, fetched from the API. Times are UTC seconds from here on. */

/**
 * @typedef {{time: number, open: number, high: number, low: number, close: number, volume: number}} Bar
 * @typedef {{id: string, kind: string, scale: string, direction: number, event: number, confirm: number, ref: number,
 *   level: number, top: number | null, bottom: number | null, strength: number, tag: string,
 *   mitigated: number | null, filled: number | null, invalidated: number | null}} Signal
 */

const TIMEOUT_MS = 10_000;
const PAGE = 1_000;
const MOST_PAGES = 6;
const MINUTES = /** @type {Record<string, number>} */ ({
  "1m": 1,
  "5m": 5,
  "15m": 15,
  "30m": 30,
  "1h": 60,
  "4h": 240,
  "1d": 1440,
});

/** @param {string} timeframe */
export const seconds = (timeframe) => 60 * (MINUTES[timeframe] ?? 1);

/** What the API refused, with what the page can say about it. */
export class ApiError extends Error {
  /**
   * @param {string} detail
   * @param {string} requestId
   */
  constructor(detail, requestId = "") {
    super(detail);
    this.requestId = requestId;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string | number | undefined>} query
 * @returns {Promise<any>}
 */
export async function ask(path, query = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
  let answer;
  try {
    answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError("The server did not answer.");
  }
  if (answer.ok) return answer.json();
  const id = answer.headers.get("X-Request-ID") ?? "";
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(String(problem.detail ?? `The server answered ${answer.status}.`), id);
}

/** @param {string | null | undefined} text */
const time = (text) => (text ? Math.round(Date.parse(text) / 1000) : null);

/**
 * Read a moment of an address, as the server does: one without a zone is UTC. Null for what cannot be read.
 * @param {string | null} text
 * @returns {number | null} seconds
 */
export function momentOf(text) {
  const asked = text ?? "";
  const isWithoutZone = asked.includes("T") && !/(Z|[+-]\d\d:?\d\d)$/i.test(asked);
  const found = Date.parse(isWithoutZone ? `${asked}Z` : asked);
  return Number.isNaN(found) ? null : found / 1000;
}

/** @param {number} at seconds */
export const iso = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");

/** @param {any} row @returns {Bar} */
export function bar(row) {
  const { open, high, low, close, volume } = row;
  return { time: time(row.open_time) ?? 0, open, high, low, close, volume };
}

/** @param {any} row @returns {Signal} */
export function signal(row) {
  return {
    id: row.id,
    kind: row.kind,
    scale: row.scale,
    direction: row.direction,
    event: time(row.event_time) ?? 0,
    confirm: time(row.confirm_time) ?? 0,
    ref: time(row.ref_time) ?? 0,
    level: row.level,
    top: row.top,
    bottom: row.bottom,
    strength: row.strength,
    tag: row.tag,
    mitigated: time(row.mitigated_time),
    filled: time(row.filled_time),
    invalidated: time(row.invalidated_time),
  };
}

/**
 * The newest candles before `to`, oldest first.
 * @param {string} symbol
 * @param {string} timeframe
 * @param {number} [to] seconds, exclusive
 * @returns {Promise<{bars: Bar[], hasMore: boolean}>}
 */
export async function fetchBars(symbol, timeframe, to) {
  const query = { symbol, timeframe, limit: PAGE, to: to === undefined ? undefined : iso(to) };
  const answer = await ask("/api/v1/candles/", query);
  return { bars: answer.results.map(bar), hasMore: answer.next !== null };
}

/**
 * The signals confirmed from `from` on and before `to`, and the zones that were open when the range began.
 * @param {string} symbol
 * @param {string} timeframe
 * @param {number} from seconds
 * @param {{to?: number, withOpen?: boolean}} [options] `to`: seconds, exclusive; `withOpen`: ask for the open zones
 * @returns {Promise<Signal[]>}
 */
export async function fetchSignals(symbol, timeframe, from, { to, withOpen = true } = {}) {
  const range = { from: iso(from), to: to === undefined ? undefined : iso(to) };
  const asked = [signalPages({ symbol, timeframe, ...range })];
  if (withOpen) asked.push(signalPages({ symbol, timeframe, kind: "FVG,IFVG,OB,BREAKER", open_at: iso(from) }));
  return (await Promise.all(asked)).flat();
}

/** @param {Record<string, string | undefined>} query @returns {Promise<Signal[]>} */
async function signalPages(query) {
  let answer = await ask("/api/v1/signals/", { ...query, limit: PAGE });
  const found = [...answer.results];
  for (let page = 1; answer.next && page < MOST_PAGES; page += 1) {
    const next = new URL(answer.next);
    answer = await ask(`${next.pathname}${next.search}`);
    found.push(...answer.results);
  }
  return found.map(signal);
}
