"""What a page is asked in a browser: how soon and how steadily it paints, what it weighs, how fast its chart pans."""

# Answers once the page has stood still for a while; ``weight`` leaves out the chart library and the data of the API.
PAINT = """() => new Promise((done) => {
  const told = { paint: 0, shift: 0, weight: 0 };
  const own = (entry) => !entry.name.includes('lightweight-charts') && !entry.name.includes('/api/');
  new PerformanceObserver((list) => { told.paint = list.getEntries().at(-1).startTime; })
    .observe({ type: 'largest-contentful-paint', buffered: true });
  new PerformanceObserver((list) => { for (const each of list.getEntries()) told.shift += each.value; })
    .observe({ type: 'layout-shift', buffered: true });
  const all = ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind));
  told.weight = all.filter(own).reduce((sum, each) => sum + each.encodedBodySize, 0);
  setTimeout(() => done(told), 300);
})"""

# Starts a backtest by the page's form, as a click does, and follows its row to the end.
RUN = """() => new Promise((done) => {
  const list = document.getElementById('runs');
  const before = new Set([...list.querySelectorAll('[data-job]')].map((row) => row.id));
  const began = performance.now();
  const told = { row: 0, done: 0, seen: [] };
  const look = () => {
    const row = [...list.querySelectorAll('[data-job]')].find((each) => !before.has(each.id));
    if (!row) return;
    told.row ||= performance.now() - began;
    const state = row.querySelector('.progress + .row')?.innerText ?? row.dataset.state;
    if (state !== told.seen.at(-1)) told.seen.push(state);
    if (['done', 'failed', 'cancelled'].includes(row.dataset.state)) {
      told.done = performance.now() - began;
      watcher.disconnect();
      done(told);
    }
  };
  const watcher = new MutationObserver(look);
  watcher.observe(list, { childList: true, subtree: true, attributes: true });
  document.querySelector('#backtest-form .btn-main').click();
})"""

# Pans a chart page over 20,000 candles and 10,000 zones, so many frames long.
PANNING = """async (frames) => {
  const page = window.chartPage;
  const { layer, chart } = page.view;
  const bars = Array.from({ length: 20000 }, (_, i) => (
    { time: i * 900 + 900000000, open: 100, high: 104, low: 96, close: 101 + (i % 7), volume: 5 }));
  page.view.setBars(bars);
  const zones = Array.from({ length: 10000 }, (_, i) => ({
    id: String(i), kind: i % 2 ? 'FVG' : 'OB', direction: i % 3 ? 1 : -1, from: i * 2,
    to: i % 50 ? i * 2 + 12 : null, top: 104 + (i % 9), bottom: 96 + (i % 9),
    isTouched: false, isGap: i % 2 === 1, isMaybe: false }));
  layer.change({ shapes: { ...layer.shapes, zones } });
  const frame = () => new Promise(requestAnimationFrame);
  const took = [];
  layer.frames = { count: 0, milliseconds: 0, drawn: 0 };
  for (let i = 0; i < frames; i += 1) {
    const began = performance.now();
    chart.timeScale().setVisibleLogicalRange({ from: 4000 + i * 3, to: 4600 + i * 3 });
    await frame();
    took.push(performance.now() - began);
  }
  took.sort((a, b) => a - b);
  const { count, milliseconds, drawn } = layer.frames;
  return { median: took[frames >> 1], own: milliseconds / count, drawn };
}"""
