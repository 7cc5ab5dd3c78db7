// @ts-check
/**
 * The page's one socket. Channels are subscribed by name; a hole in a channel's numbers is asked for again;
 * a lost connection is tried again with jitter; where sockets are blocked, or have nothing to tell, the page polls.
 *
 * Events on `document`: `live:state` {state, detail}, `live:beat` {rtt}, `live:poll`.
 */

/**
 * @typedef {{v?: number, seq?: number, ch?: string, t: string, [name: string]: any}} Message
 * @typedef {(message: Message) => void} Handler
 * @typedef {"connecting" | "live" | "reconnecting" | "polling" | "offline"} State
 */

const SILENCE_MS = 25_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const BLOCKED_AFTER = 3;
const CHANNELS_A_MESSAGE = 200;
const POLL_MS = 5_000;
const POLL_HIDDEN_MS = 60_000;

/**
 * Whether each message of a channel tells the whole state, so that nothing is lacking when some were missed. Their
 * numbers are the web process's own: after a reconnection to another they go on elsewhere, lower ones too.
 * @param {string} channel
 */
const isWholeState = (channel) => channel === "status" || channel.startsWith("job:");

class Live {
  constructor() {
    /** @type {State} */
    this.state = "connecting";
    /** @type {Map<string, Set<Handler>>} */
    this.handlers = new Map();
    /** @type {Map<string, number>} the last number seen of each channel */
    this.seen = new Map();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.failures = 0;
    this.hasOpened = false;
    this.isPaused = false;
    this.timer = 0;
    this.pollTimer = 0;
    this.silence = 0;
    this.pingAt = 0;
    addEventListener("online", () => this.connect());
    addEventListener("offline", () => this.lose("offline"));
    addEventListener("pagehide", () => this.socket?.close(1000));
    addEventListener("pageshow", (event) => event.persisted && this.connect());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state !== "live") this.connect();
    });
  }

  /**
   * Hear a channel. Returns what stops it.
   * @param {string} channel
   * @param {Handler} handler
   */
  subscribe(channel, handler) {
    const known = this.handlers.get(channel);
    if (known) known.add(handler);
    else {
      this.handlers.set(channel, new Set([handler]));
      this.ask([channel]);
    }
    return () => {
      const left = this.handlers.get(channel);
      left?.delete(handler);
      if (left?.size === 0) {
        this.handlers.delete(channel);
        this.seen.delete(channel);
        this.send({ op: "unsub", ch: [channel] });
      }
    };
  }

  connect() {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    clearTimeout(this.timer);
    if (!navigator.onLine) return this.turn("offline");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/live/`);
    this.socket = socket;
    socket.onopen = () => this.opened();
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = () => socket === this.socket && this.lose("reconnecting");
    this.watchSilence();
  }

  opened() {
    this.failures = 0;
    this.hasOpened = true;
    if (!this.isPaused) this.stopPolling();
    this.turn("live");
    this.ask([...this.handlers.keys()]);
    this.ping();
  }

  /** @param {string[]} channels */
  ask(channels) {
    // Few messages, for a socket may say only so much a second, and none that is longer than it may be.
    for (let at = 0; at < channels.length; at += CHANNELS_A_MESSAGE) {
      const some = channels.slice(at, at + CHANNELS_A_MESSAGE);
      const known = some.filter((channel) => this.seen.has(channel) && !isWholeState(channel));
      const since = Object.fromEntries(known.map((channel) => [channel, this.seen.get(channel)]));
      this.send({ op: "sub", ch: some, ...(known.length ? { since } : {}) });
    }
  }

  ping() {
    this.pingAt = performance.now();
    this.send({ op: "ping" });
  }

  /** @param {object} message */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** @param {string} text */
  received(text) {
    this.watchSilence();
    /** @type {Message} */
    const message = JSON.parse(text);
    if (message.t === "hb") {
      const rtt = this.pingAt ? Math.round(performance.now() - this.pingAt) : null;
      this.pingAt = 0;
      document.dispatchEvent(new CustomEvent("live:beat", { detail: { rtt } }));
      this.noteBegin(message.seqs ?? {});
    }
    const channel = message.ch;
    if (!channel) return;
    if (message.t !== "reset" && this.isHoleOrRepeat(channel, message.seq)) return;
    if (typeof message.seq === "number") this.seen.set(channel, message.seq);
    for (const handler of this.handlers.get(channel) ?? []) handler(message);
  }

  /**
   * Note where the channels stand that have told nothing yet, so that what they tell during an outage is asked for.
   * @param {Record<string, number>} numbers
   */
  noteBegin(numbers) {
    for (const [channel, number] of Object.entries(numbers)) {
      const isNew = this.handlers.has(channel) && !this.seen.has(channel);
      if (isNew && !isWholeState(channel)) this.seen.set(channel, number);
    }
  }

  /**
   * Whether a message is to be dropped: it was seen, or one before it is missing (then all are asked for again).
   * @param {string} channel
   * @param {number | undefined} seq
   */
  isHoleOrRepeat(channel, seq) {
    const last = this.seen.get(channel);
    if (typeof seq !== "number" || last === undefined || isWholeState(channel)) return false;
    if (seq <= last) return true;
    if (seq === last + 1) return false;
    this.send({ op: "sub", ch: [channel], since: last });
    return true;
  }

  watchSilence() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose("reconnecting"), SILENCE_MS);
  }

  /** @param {State} state */
  lose(state) {
    clearTimeout(this.silence);
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    if (state === "offline" || !navigator.onLine) return this.turn("offline");
    this.failures += 1;
    const isBlocked = this.failures >= BLOCKED_AFTER && !this.hasOpened;
    if (isBlocked) this.startPolling();
    const cap = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.failures);
    const delay = this.failures === 1 ? Math.random() * FIRST_DELAY_MS : Math.random() * cap;
    this.turn(isBlocked ? "polling" : "reconnecting", { seconds: Math.max(1, Math.round(delay / 1000)) });
    this.timer = setTimeout(() => this.connect(), delay);
    return undefined;
  }

  /**
   * Poll while the socket is open and has nothing to tell, since what feeds it is away.
   * @param {boolean} isPaused
   */
  pause(isPaused) {
    if (isPaused === this.isPaused) return;
    this.isPaused = isPaused;
    if (isPaused) this.startPolling();
    else if (this.state === "live") this.stopPolling();
  }

  startPolling() {
    if (this.pollTimer) return;
    const poll = () => {
      document.dispatchEvent(new CustomEvent("live:poll"));
      this.pollTimer = setTimeout(poll, document.hidden ? POLL_HIDDEN_MS : POLL_MS);
    };
    this.pollTimer = setTimeout(poll, POLL_MS);
  }

  stopPolling() {
    clearTimeout(this.pollTimer);
    this.pollTimer = 0;
  }

  /**
   * @param {State} state
   * @param {object} detail
   */
  turn(state, detail = {}) {
    this.state = state;
    document.dispatchEvent(new CustomEvent("live:state", { detail: { state, ...detail } }));
  }
}

export const live = new Live();
