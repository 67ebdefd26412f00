// Draws a game's map, and over it where a head of attention looks.
const ROWS = 21, COLUMNS = 79, GROUND = "#101318";
// NetHack's sixteen colours, each light enough to be read on the ground.
const COLOURS = [
  "#7a8494", "#e8604f", "#45b352", "#b98a45", "#6b98ff", "#cf74da", "#35b8b8", "#c6cad0",
  "#949ba6", "#ff9f45", "#83e372", "#f4e15a", "#93b4ff", "#f096f2", "#86e8e8", "#ffffff",
];
const KEPT = [132, 102, 255], DROPPED = "rgba(150,170,200,.6)";

// What a weight relative to the head's largest is drawn as.
function strength(weight) { return 0.18 + 0.72 * weight; }

class MapView {
  constructor(canvas, game) {
    this.canvas = canvas;
    this.game = game;
    this.context = canvas.getContext("2d");
    this.whole = true;
  }

  // Fit into so many CSS pixels; on a narrow screen a window of the map follows the hero.
  resize(width, narrow) {
    this.columns = narrow ? Math.min(COLUMNS, Math.max(30, Math.floor(width / 10))) : COLUMNS;
    this.cell = width / this.columns;
    this.height = Math.round(this.cell * 1.8);
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(this.height * ROWS * scale);
    this.canvas.style.height = `${this.height * ROWS}px`;
    this.scale = scale;
    this.font = `${Math.round(Math.min(this.cell * 1.6, this.height * 0.86))}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace`;
  }

  draw(step, head, which) {
    const { context, game } = this;
    const x = game.blstats[step * 27], y = game.blstats[step * 27 + 1];
    this.left = Math.max(0, Math.min(COLUMNS - this.columns, Math.round(x - this.columns / 2)));
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    context.fillStyle = GROUND;
    context.fillRect(0, 0, this.columns * this.cell, ROWS * this.height);
    context.translate(-this.left * this.cell, 0);
    const marked = head === null ? null : this.overlay(step, head, which, x, y);
    this.letters(step, marked);
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1.5;
    context.strokeRect(x * this.cell + 0.75, y * this.height + 0.75, this.cell - 1.5, this.height - 1.5);
    this.canvas.dataset.left = this.left;
    this.canvas.dataset.columns = this.columns;
  }

  letters(step, marked) {
    const { context, game, cell, height } = this;
    context.font = this.font;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 2;
    context.strokeStyle = GROUND;
    const start = step * ROWS * COLUMNS;
    for (let i = 0; i < ROWS * COLUMNS; i++) {
      const code = game.chars[start + i];
      if (code === 32 || code === 0) continue;
      const column = i % COLUMNS;
      if (column < this.left || column >= this.left + this.columns) continue;
      const text = String.fromCharCode(code);
      const cx = (column + 0.5) * cell, cy = (Math.floor(i / COLUMNS) + 0.54) * height;
      // An outlined dot would look like an "o".
      if (marked && marked.has(i) && text !== ".") context.strokeText(text, cx, cy);
      context.fillStyle = COLOURS[game.colors[start + i] & 15];
      context.fillText(text, cx, cy);
    }
  }

  // Kept keys are filled, the stronger the larger their weight; dropped ones are struck through.
  // Returns the cells under filled keys.
  overlay(step, head, which, x, y) {
    const { context, game, cell, height } = this;
    const marked = new Set();
    const near = [], far = [];
    game.about.regions.forEach((region, key) => {
      if (!region) return;
      const [around, top, left, rows, columns] = region;
      if (which !== "both" && (which === "near") !== around) return;
      const t = Math.max(0, around ? y + top : top), l = Math.max(0, around ? x + left : left);
      const b = Math.min(ROWS, (around ? y + top : top) + rows);
      const r = Math.min(COLUMNS, (around ? x + left : left) + columns);
      if (b > t && r > l) (around ? near : far).push([weightOf(game, step, head, key), t, l, b, r]);
    });
    for (const [weight, t, l, b, r] of [...far, ...near]) {
      const area = [l * cell, t * height, (r - l) * cell, (b - t) * height];
      const small = (r - l) * (b - t) <= 1;
      if (weight > 0) {
        context.fillStyle = `rgba(${KEPT},${strength(weight) * (small ? 1 : 0.55)})`;
        context.fillRect(...area);
        if (!small) {
          context.strokeStyle = `rgba(${KEPT},.9)`;
          context.lineWidth = 1;
          context.strokeRect(area[0] + 0.5, area[1] + 0.5, area[2] - 1, area[3] - 1);
        }
        for (let i = Math.floor(t); i < b; i++) for (let j = Math.floor(l); j < r; j++) marked.add(i * COLUMNS + j);
      } else {
        this.dropped(area, small);
      }
    }
    return marked;
  }

  // A stroke through a small area, a cross in the middle of a large one.
  dropped([left, top, width, height], small) {
    const { context } = this, [x, y] = [left + width / 2, top + height / 2], arm = small ? width / 2 - 1 : 6;
    context.strokeStyle = DROPPED;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x - arm, y + arm);
    context.lineTo(x + arm, y - arm);
    if (!small) {
      context.moveTo(x - arm, y - arm);
      context.lineTo(x + arm, y + arm);
    }
    context.stroke();
    if (small) return;
    context.setLineDash([1, 5]);
    context.strokeRect(left + 1.5, top + 1.5, width - 3, height - 3);
    context.setLineDash([]);
  }

  // The rows of the map as text, for whoever hears it.
  text(step) {
    const lines = [];
    for (let y = 0; y < ROWS; y++) {
      const start = (step * ROWS + y) * COLUMNS;
      lines.push(String.fromCharCode(...this.game.chars.subarray(start, start + COLUMNS)).trimEnd());
    }
    return lines.join("\n");
  }
}

// The weight of a key relative to the head's largest; 0: it was dropped. Without a head, the largest of all heads.
function weightOf(game, step, head, key) {
  const keys = game.keys, start = step * game.heads * keys;
  if (head >= 0) return game.attention[start + head * keys + key] / 255;
  let most = 0;
  for (let h = 0; h < game.heads; h++) most = Math.max(most, game.attention[start + h * keys + key]);
  return most / 255;
}
