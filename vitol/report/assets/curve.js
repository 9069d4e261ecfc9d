// The curve: accuracy over threshold for three IoUs, with a mark where the slider is.

const PLOT = { left: 34, right: 300, top: 8, bottom: 158 };
const DASHES = ["", "6 3", "2 3"];

const plotX = (threshold) => PLOT.left + threshold * (PLOT.right - PLOT.left);
const plotY = (percent) => PLOT.bottom - (percent / 100) * (PLOT.bottom - PLOT.top);

function svg(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// `accuracy` has a row of 255 percentages for each delta; `cut` is the slider's.
function drawCurve(chart, accuracy, deltas, starts, threshold, cut) {
  const parts = [];
  for (const percent of [0, 25, 50, 75, 100]) {
    const y = plotY(percent);
    parts.push(svg("line", { x1: PLOT.left, x2: PLOT.right, y1: y, y2: y, class: "grid" }));
    parts.push(svg("text", { x: PLOT.left - 5, y: y + 3, "text-anchor": "end" }, percent));
  }
  for (const at of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(svg("text", { x: plotX(at), y: PLOT.bottom + 13, "text-anchor": "middle" }, at));
  }
  const middle = (PLOT.left + PLOT.right) / 2;
  parts.push(svg("text", { x: middle, y: PLOT.bottom + 27, "text-anchor": "middle" }, "threshold"));
  const mark = plotX(threshold);
  parts.push(svg("line", { x1: mark, x2: mark, y1: PLOT.top, y2: PLOT.bottom, class: "mark", id: "mark" }));
  accuracy.forEach((row, at) => {
    const points = row.map((percent, step) => `${plotX(starts[step] / 1000)},${plotY(percent)}`).join(" ");
    parts.push(svg("polyline", { points, class: `line line-${at}`, "stroke-dasharray": DASHES[at] }));
    parts.push(svg("circle", { cx: mark, cy: plotY(row[cut]), r: 3.5, class: `dot line-${at}` }));
  });
  deltas.forEach((delta, at) => {
    const y = PLOT.top + 8 + 15 * at;
    parts.push(svg("line", {
      x1: 306, x2: 320, y1: y, y2: y, class: `line line-${at}`, "stroke-dasharray": DASHES[at],
    }));
    parts.push(svg("text", { x: 323, y: y + 3 }, delta));
  });
  parts.push(svg("text", { x: 306, y: PLOT.top + 8 + 15 * deltas.length }, "IoU ≥"));
  chart.replaceChildren(...parts);
}

// Where on the curve a pointer is, as one of the 1,000 thresholds.
function thresholdAt(chart, event) {
  const box = chart.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 340;
  const threshold = (x - PLOT.left) / (PLOT.right - PLOT.left);
  return Math.min(Math.max(Math.round(1000 * threshold), 0), 999);
}
