// Boxes: read back from the bytes that vitol/report/packing.py makes, and compared as vitol's scorer does.

const CUTS = 255;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Records, one after another: h, w, heat, and two boxes at 255 thresholds as differences, corner by corner.
function readRecords(bytes) {
  const records = [];
  for (let at = 0; at < bytes.length; ) {
    const [height, width] = [bytes[at], bytes[at + 1]];
    const heat = bytes.subarray(at + 2, at + 2 + height * width);
    at += 2 + height * width;
    const steps = [0, 1].map((box) => bytes.subarray(at + box * 4 * CUTS, at + (box + 1) * 4 * CUTS));
    records.push({ height, width, heat, largest: boxesOf(steps[0]), best: boxesOf(steps[1]) });
    at += 8 * CUTS;
  }
  return records;
}

// x0, y0, x1, y1 at each threshold, one box after another.
function boxesOf(steps) {
  const boxes = new Uint8Array(4 * CUTS);
  for (let corner = 0; corner < 4; corner++) {
    let value = 0;
    for (let cut = 0; cut < CUTS; cut++) {
      value = (value + steps[corner * CUTS + cut]) & 255;
      boxes[4 * cut + corner] = value;
    }
  }
  return boxes;
}

const boxAt = (boxes, cut) => [...boxes.subarray(4 * cut, 4 * cut + 4)];

// Of each of the 1,000 thresholds, which of the 255 it is.
function cutsOfThresholds(starts) {
  const cuts = new Uint8Array(1000);
  starts.forEach((start, cut) => cuts.fill(cut, start));
  return cuts;
}

const area = ([x0, y0, x1, y1]) => (x1 - x0 + 1) * (y1 - y0 + 1);

function shared(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1;
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
  return Math.max(width, 0) * Math.max(height, 0);
}

// IoU with the nearest true box, and what became of the box: the definitions of vitol/failures.py.
function judged(box, truths) {
  const overlaps = truths.map((truth) => {
    const both = shared(box, truth);
    return {
      iou: both / (area(box) + area(truth) - both),
      ofTruth: both / area(truth),
      ofBox: both / area(box),
    };
  });
  const nearest = overlaps.reduce((best, one) => (one.iou > best.iou ? one : best));
  let outcome = "other";
  if (nearest.iou >= 0.5) outcome = "right";
  else if (overlaps.filter((one) => one.ofTruth > 0.3).length > 1) outcome = "multi";
  else if (nearest.ofBox > 0.5) outcome = "part";
  else if (nearest.ofTruth >= 0.7) outcome = "more";
  return { iou: nearest.iou, outcome };
}
