// What is written beside the map: rows that are made once and filled in each step.
function element(kind, className, parent, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// A row of a name, a bar and a number.
class Bar {
  constructor(list, name, colour) {
    this.row = element("li", "bar", list);
    this.name = element("span", "name", this.row, name);
    const track = element("span", "track", this.row);
    this.fill = element("span", "fill", track);
    if (colour) this.fill.style.background = colour;
    this.figure = element("span", "figure", this.row);
  }

  set(share, text) {
    this.fill.style.width = `${(100 * share).toFixed(1)}%`;
    write(this.figure, text);
  }
}

function write(node, text) { if (node.textContent !== text) node.textContent = text; }

function percent(share) { return share > 0 && share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`; }

class Panels {
  constructor(board, game) {
    this.game = game;
    const find = (name) => board.querySelector(`.${name}`);
    this.nodes = Object.fromEntries(["message", "status", "action", "reward", "value", "score", "ended"].map((name) => [name, find(name)]));
    this.actions = game.about.actions.map((name) => new Bar(find("actions"), name));
    this.experts = game.experts.map((name, k) => new Bar(find("experts"), name, EXPERTS[k % EXPERTS.length]));
    this.heads = Array.from({ length: game.heads }, (_, h) => element("li", "head", find("heads"), `head ${h + 1}`));
    find("without-heads").hidden = game.heads > 0;
    this.operators = [0, 1, 2].map(() => {
      const item = element("li", "operator", find("operators"));
      return { item, name: element("span", "name", item), effects: element("span", "effects", item) };
    });
    find("without-operators").hidden = Boolean(game.best);
    this.atoms = game.about.atoms.map((name) => element("li", "atom", find("atoms"), name));
  }

  fill(step, over) {
    const { game, nodes } = this, status = row(game, "blstats", step);
    write(nodes.message, game.messages[game.message[step]] || "\u00a0");
    write(nodes.status, statusLine(status));
    const end = game.about.end;
    write(nodes.ended, over ? `ended after ${end.length} steps: ${game.marks.at(-1).text}` : "");
    write(nodes.action, game.about.actions[game.action[step]]);
    write(nodes.reward, number(round(game.reward[step])));
    write(nodes.value, number(round(game.value[step])));
    write(nodes.score, String(status[9]));
    const probabilities = row(game, "probabilities", step);
    this.actions.forEach((bar, action) => {
      const legal = bit(game, "legal", step, action) === 1;
      bar.set(probabilities[action] / 65535, legal ? percent(probabilities[action] / 65535) : "illegal");
      bar.row.classList.toggle("illegal", !legal);
      bar.row.classList.toggle("taken", action === game.action[step]);
    });
    const alpha = row(game, "alpha", step);
    this.experts.forEach((bar, k) => bar.set(alpha[k] / 65535, percent(alpha[k] / 65535)));
    this.heads.forEach((node, head) => write(node, headLine(game, step, head)));
    if (game.best) this.fillOperators(step);
    this.atoms.forEach((node, place) => {
      const on = bit(game, "atoms", step, place) === 1;
      node.hidden = !on;
      node.classList.toggle("new", on && step > 0 && bit(game, "atoms", step - 1, place) === 0);
    });
  }

  fillOperators(step) {
    const { game } = this, best = row(game, "best", step), scores = row(game, "best_scores", step);
    this.operators.forEach(({ item, name, effects }, place) => {
      const operator = game.about.operators[best[place]];
      item.hidden = !operator;
      if (!operator) return;
      const expert = game.about.experts[operator.expert];
      write(name, `${operator.name} (${expert}), score ${number(round(scores[place]))}`);
      write(effects, `promises ${operator.effects.map((effect) => promise(game, effect, step)).join(", ")}`);
    });
  }
}

// A promised effect, and whether it holds one step later.
function promise(game, effect, step) {
  if (holds(game, effect, step)) return `${effect} (= held already)`;
  if (step + 1 >= game.steps) return `${effect} (? the game ended)`;
  return holds(game, effect, step + 1) ? `${effect} (✓ came true)` : `${effect} (✗ did not)`;
}

// How many keys a head keeps, and how its weight is shared between the crop, the tiles and what has no place.
function headLine(game, step, head) {
  const { keys } = game, start = (step * game.heads + head) * keys, { regions } = game.about;
  let sum = 0, kept = 0, near = 0, far = 0;
  for (let key = 0; key < keys; key++) {
    const weight = game.attention[start + key];
    sum += weight;
    kept += weight > 0;
    const region = regions.length === keys ? regions[key] : null;
    if (region) region[0] ? (near += weight) : (far += weight);
  }
  if (!sum) return `head ${head + 1}: dropped`;
  const parts = `near ${percent(near / sum)}, far ${percent(far / sum)}, else ${percent((sum - near - far) / sum)}`;
  return `head ${head + 1}: keeps ${kept} of ${keys}; ${parts}`;
}

function round(value) { return Math.round(value * 100) / 100; }

// NetHack's bottom line.
function statusLine(b) {
  const hunger = ["Satiated", "", "Hungry", "Weak", "Fainting", "Fainted", "Starved"][b[21]] ?? "";
  const load = ["", "Burdened", "Stressed", "Strained", "Overtaxed", "Overloaded"][b[22]] ?? "";
  const states = ["Stone", "Slime", "Strngl", "FoodPois", "TermIll", "Blind", "Deaf", "Stun", "Conf", "Hallu", "Lev", "Fly", "Ride"];
  const told = states.filter((_, place) => (b[25] >> place) & 1);
  return [
    `Dlvl:${b[12]} $:${b[13]} HP:${b[10]}(${b[11]}) Pw:${b[14]}(${b[15]}) AC:${b[16]} Xp:${b[18]}/${b[19]} T:${b[20]} S:${b[9]}`,
    `St:${b[3]} Dx:${b[4]} Co:${b[5]} In:${b[6]} Wi:${b[7]} Ch:${b[8]}`,
    hunger, load, ...told,
  ].filter(Boolean).join("  ");
}
