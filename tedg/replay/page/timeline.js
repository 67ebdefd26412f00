// Draws a whole game as lanes over its steps: bookmarks, experts' shares, value, score and reward.
// Okabe and Ito's colours, which the colour-blind can tell apart; names and the order say it too.
const EXPERTS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999"];
const SIGNS = { end: "■", depth: "▼", level: "▲", switch: "⇄", drop: "↘", part: "◆" };
const LANES = [["marks", 18], ["experts", 64], ["value", 36], ["score", 30], ["reward", 24]];
const INK = "#1c1c1a", SOFT = "#5c5c57", LINE = "#0b4f8a", GAP = 5;

class Timeline {
  constructor(canvas, game, steps) {
    this.canvas = canvas;
    this.game = game;
    this.steps = steps;  // of the longest game on the page
    this.layer = document.createElement("canvas");
    this.total = LANES.reduce((sum, [, height]) => sum + height + GAP, 0);
  }

  resize(width) {
    this.width = width;
    this.scale = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.round(width * this.scale);
      canvas.height = Math.round(this.total * this.scale);
    }
    this.canvas.style.height = `${this.total}px`;
    this.drawLanes();
  }

  x(step) { return ((step + 0.5) / this.steps) * this.width; }

  stepAt(x) { return Math.max(0, Math.min(this.steps - 1, Math.floor((x / this.width) * this.steps))); }

  drawLanes() {
    const context = this.layer.getContext("2d"), { game } = this;
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, this.width, this.total);
    let top = 0;
    this.lanes = {};
    for (const [name, height] of LANES) {
      this.lanes[name] = [top, height];
      context.fillStyle = name === "marks" ? "#ffffff" : "#f6f5f0";
      context.fillRect(0, top, this.width, height);
      top += height + GAP;
    }
    const score = new Float32Array(game.steps);
    for (let t = 0; t < game.steps; t++) score[t] = game.blstats[t * 27 + 9];
    this.drawShares(context, ...this.lanes.experts);
    this.drawLine(context, "value", game.value, ...this.lanes.value);
    this.drawLine(context, "score", score, ...this.lanes.score);
    this.drawBars(context, "reward", game.reward, ...this.lanes.reward);
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const mark of game.marks) {
      context.fillStyle = mark.kind === "part" ? "#b34700" : INK;
      context.fillText(SIGNS[mark.kind], Math.max(6, Math.min(this.width - 6, this.x(mark.step))), 9);
      if (mark.kind === "part") context.fillRect(this.x(mark.step) - 1, 16, 2, this.total);
    }
  }

  // Steps that lie in a column of pixels, first and last + 1; none after the game's end.
  span(column) {
    const first = Math.floor((column / this.width) * this.steps);
    const last = Math.max(first + 1, Math.floor(((column + 1) / this.width) * this.steps));
    return [first, Math.min(last, this.game.steps)];
  }

  // The mean shares of each column's steps, the first expert on top.
  drawShares(context, top, height) {
    const { game } = this, experts = game.width.alpha;
    for (let column = 0; column < this.width; column++) {
      const [first, last] = this.span(column);
      if (first >= last) break;
      let y = top;
      for (let k = 0; k < experts; k++) {
        let share = 0;
        for (let t = first; t < last; t++) share += game.alpha[t * experts + k];
        const part = (height * share) / (last - first) / 65535;
        context.fillStyle = EXPERTS[k % EXPERTS.length];
        context.fillRect(column, y, 1, part);
        y += part;
      }
    }
    label(context, "experts", top);
  }

  drawLine(context, name, values, top, height) {
    const [low, high] = range(values), y = (v) => top + height - 2 - ((v - low) / (high - low || 1)) * (height - 4);
    context.strokeStyle = LINE;
    context.lineWidth = 1.2;
    context.beginPath();
    for (let column = 0; column < this.width; column++) {
      const [first, last] = this.span(column);
      if (first >= last) break;
      const [least, most] = range(values.subarray(first, last));
      context.lineTo(column + 0.5, y(least));
      if (most > least) context.lineTo(column + 0.5, y(most));
    }
    context.stroke();
    label(context, `${name} ${number(low)} to ${number(high)}`, top);
  }

  drawBars(context, name, values, top, height) {
    let [low, high] = range(values);
    [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const y = (v) => top + height - 1 - ((v - low) / (high - low || 1)) * (height - 2);
    context.fillStyle = LINE;
    for (let column = 0; column < this.width; column++) {
      const [first, last] = this.span(column);
      if (first >= last) break;
      const [least, most] = range(values.subarray(first, last));
      const [above, below] = [y(Math.max(most, 0)), y(Math.min(least, 0))];
      context.fillRect(column, above, 1, Math.max(1, below - above));
    }
    label(context, `${name} ${number(low)} to ${number(high)}`, top);
  }

  draw(step) {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.layer, 0, 0);
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    const x = this.x(step);
    context.fillStyle = "#ffffff";
    context.fillRect(x - 2, 0, 4, this.total);
    context.fillStyle = INK;
    context.fillRect(x - 1, 0, 2, this.total);
  }
}

function label(context, text, top) {
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "top";
  const width = context.measureText(text).width;
  context.fillStyle = "rgba(255,255,255,.65)";
  context.fillRect(2, top + 2, width + 6, 14);
  context.fillStyle = INK;
  context.fillText(text, 5, top + 3);
}

function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function number(value) {
  return (Number.isInteger(value) ? String(value) : value.toFixed(2)).replace("-", "\u2212");
}
