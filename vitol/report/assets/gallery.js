// The gallery: which image, map and threshold are chosen, and all that follows from it.

const data = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const BOX_STYLES = { truth: ["#00e000", []], largest: ["#ff2a2a", [16, 10]], best: ["#ffb000", [5, 8]] };
const OF = { label: "labelled class", predicted: "predicted class", any: "no class" };
const cuts = cutsOfThresholds(data.starts);
const colours = bytesOf(data.colours);
const runs = []; // of each gallery what is read once: its records, photos as pictures, and thumbnails

// What is chosen; `layer` follows from run, model, method and of.
const state = { run: 0, model: "", method: "", of: "", layer: null, photo: 0, threshold: 0 };
const wanted = { model: "", method: "", of: "" }; // asked for last, whether or not there is such a layer

const gallery = () => data.galleries[state.run];
const recordOf = (photo) => runs[state.run].records[state.layer.records[photo]];
const className = (label) => gallery().classes[label]?.replaceAll("_", " ") ?? `class ${label}`;
const boxText = (box) => box.join(", ");

async function openRun(number) {
  const { records, photos } = data.galleries[number];
  runs[number] ??= {
    records: readRecords(await inflated(bytesOf(records))),
    urls: photos.map((photo) => URL.createObjectURL(new Blob([bytesOf(photo.jpeg)], { type: "image/jpeg" }))),
    bitmaps: new Map(),
  };
  Object.assign(state, { run: number, photo: 0 });
  const { title, note } = gallery();
  part("gallery-note").textContent = note ? `${title}. ${note}` : title;
  const subsets = [...new Set(photos.map((photo) => photo.subset))].filter(Boolean);
  fillSelect("subset", [["", "all"], ...subsets.map((name) => [name, name])], "");
  part("correct").value = part("outcome").value = "";
  fillThumbs();
  chooseLayer();
}

// Options of a select; it hides where there is nothing to choose.
function fillSelect(id, options, chosen) {
  const select = part(id);
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = options.some(([value]) => String(value) === String(chosen)) ? chosen : options[0][0];
  select.closest("label").hidden = options.length < 2;
  return select.value;
}

// Fill model, method and class with what there is, take what was asked for last where it is there, and that layer.
function chooseLayer() {
  let layers = gallery().layers;
  for (const key of ["model", "method", "of"]) {
    const there = [...new Set(layers.map((layer) => layer[key]))];
    state[key] = fillSelect(key, there.map((name) => [name, OF[name] ?? name]), wanted[key]);
    wanted[key] ||= state[key];
    layers = layers.filter((layer) => layer[key] === state[key]);
  }
  // A method without a class says so, but cannot be asked for another.
  part("of").closest("label").hidden = false;
  part("of").disabled = part("of").options.length < 2;
  state.layer = layers[0];
  part("correct").closest("label").hidden = !state.layer.predicted;
  state.threshold = state.layer.threshold;
  const at = (state.threshold / 1000).toFixed(3);
  part("reset").textContent = `Back to ${at}`;
  part("reset").title = state.layer.chosen;
  applyFilters();
  show();
}

function judgedAt(photo) {
  return judged(boxAt(recordOf(photo).largest, cuts[state.threshold]), gallery().photos[photo].truths);
}

// What the model takes the image for; undefined where it has no classifier.
const predictedOf = (photo) => state.layer.predicted?.[photo];

function matches(photo) {
  const [outcome, correct, subset] = ["outcome", "correct", "subset"].map((id) => part(id).value);
  if (subset && gallery().photos[photo].subset !== subset) return false;
  const right = predictedOf(photo) === gallery().photos[photo].label;
  // Without a classifier nothing is right or wrong: the filter is hidden, and rests.
  if (state.layer.predicted && correct && right !== (correct === "right")) return false;
  return !outcome || judgedAt(photo).outcome === outcome;
}

const matching = () => gallery().photos.map((_, photo) => photo).filter(matches);

// After a filter has changed: the first image that passes is shown if this one does not.
function applyFilters() {
  const passing = matching();
  if (passing.length && !passing.includes(state.photo)) [state.photo] = passing;
}

function fillThumbs() {
  part("thumbs").replaceChildren(...gallery().photos.map((photo, at) => {
    const button = document.createElement("button");
    const image = Object.assign(new Image(), { src: runs[state.run].urls[at], alt: "", loading: "lazy" });
    button.type = "button";
    button.append(image);
    button.addEventListener("click", () => {
      state.photo = at;
      show();
      part("stage").scrollIntoView({ block: "nearest" });
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

function showThumbs(passing) {
  const chosen = new Set(passing);
  [...part("thumbs").children].forEach((item, photo) => {
    item.hidden = !chosen.has(photo);
    const button = item.firstChild;
    const { outcome } = judgedAt(photo);
    button.dataset.outcome = outcome;
    button.setAttribute("aria-label", `${className(gallery().photos[photo].label)}, box ${outcome}`);
    button.setAttribute("aria-current", String(photo === state.photo));
  });
  part("count").textContent = `${passing.length} of ${gallery().photos.length} images`;
  const place = passing.indexOf(state.photo);
  part("place").textContent = place < 0 ? "does not pass the filters" : `${place + 1} of ${passing.length}`;
}

async function bitmapOf(photo) {
  const { bitmaps, urls } = runs[state.run];
  if (!bitmaps.has(photo)) {
    const image = Object.assign(new Image(), { src: urls[photo] });
    bitmaps.set(photo, image.decode().then(() => image));
  }
  return bitmaps.get(photo);
}

async function showImage(photo, record, boxes) {
  const canvas = part("canvas");
  const drawn = { ...state };
  const bitmap = await bitmapOf(drawn.photo);
  // The next choice may have come while the photo was decoded: what is drawn is the latest.
  if (["run", "photo", "layer", "threshold"].some((key) => drawn[key] !== state[key])) return;
  const overlay = part("overlay").value;
  record.levels ??= smooth(record, data.size);
  const layer = overlay === "none" ? null
    : heatLayer(record.levels, data.size, colours, overlay, cuts[state.threshold]);
  const wanted = part("boxes").value;
  const shown = photo.truths.map((truth) => [truth, ...BOX_STYLES.truth]);
  for (const name of ["best", "largest"]) {
    if (wanted === name || wanted === "both") shown.push([boxes[name], ...BOX_STYLES[name]]);
  }
  drawView(canvas, photo, bitmap, layer, shown, data.size);
  canvas.dataset.drawn = `${state.photo} ${state.threshold}`;
}

function caption(photo, outcome) {
  const predicted = predictedOf(state.photo);
  const words = [className(photo.label)];
  if (predicted === photo.label) words.push("predicted right");
  else if (predicted !== undefined) words.push(`predicted as ${className(predicted)}`);
  if (photo.subset) words.push(`subset ${photo.subset}`);
  part("caption").replaceChildren(
    Object.assign(document.createElement("b"), { textContent: words.join(" · ") }),
    Object.assign(document.createElement("small"), { textContent: photo.name }),
  );
  part("verdict").textContent = `The largest contour's box is: ${outcome}`;
  part("verdict").dataset.outcome = outcome;
}

// Percent of the gallery's own images whose best box reaches each IoU, at every threshold.
function ownCurve() {
  const { layer, run } = state;
  layer.own ??= data.deltas.map((delta) => Array.from({ length: CUTS }, (_, cut) => {
    const reached = data.galleries[run].photos.filter((photo, at) => {
      return judged(boxAt(runs[run].records[layer.records[at]].best, cut), photo.truths).iou >= delta;
    });
    return (100 * reached.length) / data.galleries[run].photos.length;
  }));
  return layer.own;
}

function showCurve(cut) {
  const { layer, threshold } = state;
  const accuracy = layer.curve?.accuracy ?? ownCurve();
  drawCurve(part("curve"), accuracy, data.deltas, data.starts, threshold / 1000, cut);
  const at = data.deltas.map((delta, row) => `${accuracy[row][cut].toFixed(1)}% reach IoU ${delta}`).join(", ");
  const whose = layer.curve ? `all ${layer.curve.n} images` : `the ${gallery().photos.length} images of this gallery`;
  const text = `Best contour, ${whose}: at threshold ${(threshold / 1000).toFixed(3)}, ${at}. ${layer.chosen}`;
  part("curve-note").textContent = text;
  part("curve").setAttribute("aria-label", `Accuracy over threshold. ${text}`);
}

function show() {
  const photo = gallery().photos[state.photo];
  const record = recordOf(state.photo);
  const cut = cuts[state.threshold];
  const boxes = { largest: boxAt(record.largest, cut), best: boxAt(record.best, cut) };
  const found = { largest: judged(boxes.largest, photo.truths), best: judged(boxes.best, photo.truths) };
  for (const name of ["largest", "best"]) {
    part(`${name}-box`).textContent = boxText(boxes[name]);
    part(`${name}-iou`).textContent = found[name].iou.toFixed(3);
    part(`${name}-iou`).dataset.value = found[name].iou;
  }
  part("true-boxes").textContent = photo.truths.map(boxText).join("; ");
  part("map-size").textContent = `${data.size} × ${data.size}`;
  caption(photo, found.largest.outcome);
  const text = (state.threshold / 1000).toFixed(3);
  part("threshold").value = state.threshold;
  part("threshold").setAttribute("aria-valuetext", `${text}, IoU ${found.largest.iou.toFixed(2)}`);
  part("threshold-value").textContent = text;
  showThumbs(matching());
  showCurve(cut);
  showImage(photo, record, boxes);
}

function step(by) {
  const passing = matching();
  if (!passing.length) return;
  // From an image that does not pass, to the one that would come next.
  const next = passing.findIndex((photo) => photo >= state.photo);
  const from = passing[next] === state.photo || by < 0 ? next : next - 1;
  const place = (next < 0 ? (by < 0 ? passing.length : -1) : from) + by;
  state.photo = passing[(place + passing.length) % passing.length];
  show();
}

function setThreshold(threshold) {
  state.threshold = Math.min(Math.max(threshold, 0), 999);
  show();
}

function keyPressed(event) {
  if (event.target.matches("select, input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const fine = event.shiftKey ? 1 : 10;
  const onImage = part("stage").contains(event.target);
  const actions = { ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
  if (onImage) {
    actions.ArrowUp = () => setThreshold(state.threshold + fine);
    actions.ArrowDown = () => setThreshold(state.threshold - fine);
  }
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

function startGallery() {
  fillSelect("run", data.galleries.map(({ title }, number) => [number, title]), 0);
  part("run").addEventListener("change", () => openRun(Number(part("run").value)));
  for (const id of ["model", "method", "of"]) {
    part(id).addEventListener("change", () => {
      wanted[id] = part(id).value;
      chooseLayer();
    });
  }
  for (const id of ["overlay", "boxes"]) part(id).addEventListener("change", show);
  for (const id of ["outcome", "correct", "subset"]) {
    part(id).addEventListener("change", () => {
      applyFilters();
      show();
    });
  }
  part("threshold").addEventListener("input", () => setThreshold(Number(part("threshold").value)));
  part("reset").addEventListener("click", () => setThreshold(state.layer.threshold));
  part("curve").addEventListener("click", (event) => setThreshold(thresholdAt(part("curve"), event)));
  part("previous").addEventListener("click", () => step(-1));
  part("next").addEventListener("click", () => step(1));
  part("gallery").addEventListener("keydown", keyPressed);
  part("gallery").querySelectorAll("form").forEach((form) => {
    form.addEventListener("submit", (event) => event.preventDefault());
  });
  openRun(0);
}

if (part("gallery")) startGallery();
