// What the drawings share.

/**
 * Fit a canvas to its place and the screen's pixels.
 * @param {HTMLCanvasElement} canvas
 * @returns {{context: CanvasRenderingContext2D, width: number, height: number}} sizes in CSS pixels
 */
export function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/**
 * Draw probabilities one above the other; what is unsure is pale.
 * @param {CanvasRenderingContext2D} context
 * @param {{left: number, right: number, top: number, bottom: number}} box
 * @param {import("./types.js").Probabilities} probabilities
 * @param {number} confidence
 * @param {import("./colours.js").Palette} palette
 */
export function stack(context, { left, right, top, bottom }, probabilities, confidence, palette) {
  let y = bottom;
  context.globalAlpha = strength(confidence);
  for (const [label, value] of Object.entries(probabilities)) {
    const height = value * (bottom - top);
    context.fillStyle = palette.of(label);
    context.fillRect(left, y - height, right - left, height + 0.25);
    y -= height;
  }
  context.globalAlpha = 1;
}

/** How strong a colour stands for a confidence. @param {number} confidence 0..1 */
export function strength(confidence) {
  return Math.max(0.22, Math.min(1, (confidence - 0.2) / 0.5));
}

/** Draw at the next frame, once, however often it is asked for. @param {() => void} draw */
export function coalesced(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}
