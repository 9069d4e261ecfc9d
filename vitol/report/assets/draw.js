// Drawing: a photo, the map over it as heat, and boxes.

const HEAT_ALPHA = 140;
const LONGEST = 896; // pixels of the canvas, whatever the photo's

// Weights of the four nearest samples in cubic convolution, with the coefficient that OpenCV takes.
function cubicWeights(offset) {
  const a = -0.75;
  const near = (t) => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return [far(1 + offset), near(offset), near(1 - offset), far(2 - offset)];
}

// One direction of it: `count` lines of `from` samples become lines of `to`, written across, so that twice is upright.
function stretched(values, count, from, to) {
  const out = new Float32Array(count * to);
  for (let x = 0; x < to; x++) {
    const place = ((x + 0.5) * from) / to - 0.5;
    const first = Math.floor(place);
    const weights = cubicWeights(place - first);
    for (let line = 0; line < count; line++) {
      let sum = 0;
      weights.forEach((weight, tap) => {
        sum += weight * values[line * from + Math.min(Math.max(first - 1 + tap, 0), from - 1)];
      });
      out[x * count + line] = sum;
    }
  }
  return out;
}

// A record's map at size x size, stretched to 0-255.
function smooth(record, size) {
  const wide = stretched(record.heat, record.height, record.width, size);
  const values = stretched(wide, size, record.height, size);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const reach = values.reduce((a, b) => Math.max(a, b), -Infinity) - low;
  return Uint8ClampedArray.from(values, (value) => Math.floor(reach ? ((value - low) / reach) * 255 : 0));
}

function heatLayer(levels, size, colours, overlay, cut) {
  const layer = new OffscreenCanvas(size, size);
  const context = layer.getContext("2d");
  const pixels = context.createImageData(size, size);
  levels.forEach((level, at) => {
    const inside = overlay === "heat" || level > cut;
    if (inside) pixels.data.set(colours.subarray(3 * level, 3 * level + 3), 4 * at);
    pixels.data[4 * at + 3] = HEAT_ALPHA;
  });
  context.putImageData(pixels, 0, 0);
  return layer;
}

// `boxes` are [box, colour, dashes], in pixels of the map.
function drawView(canvas, photo, bitmap, layer, boxes, size) {
  const scale = LONGEST / Math.max(...photo.size);
  const [width, height] = photo.size.map((side) => Math.round(side * scale));
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  if (layer) context.drawImage(layer, 0, 0, width, height);
  for (const [[x0, y0, x1, y1], colour, dashes] of boxes) {
    const [x, y] = [(x0 / size) * width, (y0 / size) * height];
    const [w, h] = [((x1 - x0) / size) * width, ((y1 - y0) / size) * height];
    // A dark line below keeps the coloured one visible on any photo.
    for (const [style, line] of [["rgb(0 0 0 / 60%)", 9], [colour, 5]]) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.setLineDash(dashes);
      context.strokeRect(x, y, w, h);
    }
  }
}
