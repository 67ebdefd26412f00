// Puts the page together, and moves all boards through the steps.
const controls = Object.fromEntries(
  ["play", "back", "next", "before", "after", "scrub", "speed", "head", "which", "whole", "where", "heard"]
    .map((id) => [id, document.getElementById(id)]),
);
const boards = [];
let step = 0, steps = 0, playing = false, owed = 0, last = 0, games = [];

function show(to) {
  step = Math.max(0, Math.min(steps - 1, to));
  const head = controls.head.value === "off" ? null : Number(controls.head.value);
  for (const board of boards) {
    const own = Math.min(step, board.game.steps - 1), overlays = head !== null && head < board.game.heads && board.game.placed;
    board.map.draw(own, overlays ? head : null, controls.which.value);
    board.timeline.draw(step);
    board.panels.fill(own, step >= board.game.steps - 1);
  }
  controls.scrub.value = step;
  controls.scrub.setAttribute("aria-valuetext", `step ${step} of ${steps - 1}`);
  write(controls.where, `step ${step} of ${steps - 1}`);
  document.body.dataset.step = step;
}

function settle() {
  history.replaceState(null, "", `#step=${step}`);
  write(controls.heard, playing ? "" : boards.map((b) => b.map.text(Math.min(step, b.game.steps - 1))).join("\n\n"));
  for (const link of document.querySelectorAll("#marks a")) {
    link.toggleAttribute("aria-current", link.hash === `#step=${step}`);
  }
}

function go(to) { pause(); show(to); settle(); }

function play() {
  if (step === steps - 1) show(0);
  playing = true;
  owed = 0;
  last = performance.now();
  controls.play.textContent = "❚❚ Pause";
  requestAnimationFrame(advance);
}

function pause() {
  if (!playing) return;
  playing = false;
  controls.play.textContent = "▶ Play";
  settle();
}

function advance(now) {
  if (!playing) return;
  owed += ((now - last) / 1000) * Number(controls.speed.value);
  last = now;
  if (owed >= 1) {
    show(step + Math.floor(owed));
    owed %= 1;
  }
  if (step === steps - 1) pause();
  else requestAnimationFrame(advance);
}

function toggle() { playing ? pause() : play(); }

// The nearest bookmark before or after this step.
function mark(way) {
  const places = games.flatMap((game) => game.marks.map((one) => one.step)).sort((a, b) => a - b);
  const found = way > 0 ? places.find((one) => one > step) : places.reverse().find((one) => one < step);
  if (found !== undefined) go(found);
}

function choose(select, by) {
  const count = select.options.length;
  select.selectedIndex = select === controls.speed
    ? Math.max(0, Math.min(count - 1, select.selectedIndex + by))
    : (select.selectedIndex + by + count) % count;
  show(step);
}

const KEYS = {
  " ": toggle, k: toggle,
  ArrowLeft: () => go(step - 1), ArrowRight: () => go(step + 1),
  PageUp: () => go(step - 50), PageDown: () => go(step + 50),
  Home: () => go(0), End: () => go(steps - 1),
  "[": () => mark(-1), "]": () => mark(1),
  "-": () => choose(controls.speed, -1), "+": () => choose(controls.speed, 1), "=": () => choose(controls.speed, 1),
  h: () => choose(controls.head, 1), H: () => choose(controls.head, -1),
  o: () => choose(controls.which, 1),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  const kind = event.target.tagName;
  if (kind === "SELECT" || (event.key === " " && (kind === "BUTTON" || kind === "A" || kind === "SUMMARY"))) return;
  event.preventDefault();
  KEYS[event.key]();
}

function onHash() {
  const found = /^#step=(\d+)$/.exec(location.hash);
  if (found && Number(found[1]) !== step) go(Number(found[1]));
}

function resize() {
  if (!boards[0].map.canvas.clientWidth) return;  // nobody sees it
  for (const board of boards) {
    const width = board.map.canvas.clientWidth, narrow = width < 480 && !controls.whole.checked;
    board.map.resize(width, narrow);
    board.timeline.resize(width);
  }
  show(step);
}

function build(game) {
  const node = document.getElementById("board").content.firstElementChild.cloneNode(true);
  document.getElementById("boards").append(node);
  game.keys = game.heads ? game.width.attention / game.heads : 0;
  game.placed = game.about.regions.length === game.keys && game.about.regions.some(Boolean);
  game.atomPlace = new Map(game.about.atoms.map((name, place) => [name, place]));
  for (const name of node.querySelectorAll(".run")) name.textContent = game.about.run;
  const map = node.querySelector(".map"), timeline = node.querySelector(".timeline");
  map.setAttribute("aria-label", `Map of ${game.about.run}`);
  const board = {
    node, game,
    map: new MapView(map, game),
    timeline: new Timeline(timeline, game, steps),
    panels: new Panels(node, game),
  };
  const scrub = (event) => { if (event.buttons & 1) go(board.timeline.stepAt(event.offsetX)); };
  timeline.addEventListener("pointerdown", (event) => { timeline.setPointerCapture(event.pointerId); scrub(event); });
  timeline.addEventListener("pointermove", scrub);
  boards.push(board);
}

function listMarks() {
  const list = document.getElementById("marks");
  const all = games.flatMap((game, place) => game.marks.map((one) => ({ ...one, place })));
  all.sort((a, b) => a.step - b.step);
  for (const one of all.filter((mark, i) => mark.kind !== "part" || i === all.findIndex((m) => m.kind === "part"))) {
    const link = element("a", `kind-${one.kind}`, element("li", "", list));
    link.href = `#step=${one.step}`;
    element("span", "sign", link, SIGNS[one.kind]);
    const whose = games.length > 1 && one.kind !== "part" ? `${one.place + 1}: ` : "";
    element("span", "", link, ` ${one.step}  ${whose}${one.text}`);
  }
}

function setUp(told) {
  games = told.games;
  steps = Math.max(...games.map((game) => game.steps));
  document.getElementById("app").hidden = false;
  document.body.classList.toggle("two", games.length > 1);
  games.forEach(build);
  listMarks();
  const heads = Math.max(...games.map((game) => (game.placed ? game.heads : 0)));
  for (let head = 0; head < heads; head++) {
    element("option", "", controls.head, `head ${head + 1}`).value = head;
  }
  controls.head.disabled = controls.which.disabled = !heads;
  if (heads) controls.head.value = "0";
  else for (const option of [...controls.head.options].slice(1)) option.remove();
  controls.scrub.max = steps - 1;
  controls.play.addEventListener("click", toggle);
  controls.back.addEventListener("click", () => go(step - 1));
  controls.next.addEventListener("click", () => go(step + 1));
  controls.before.addEventListener("click", () => mark(-1));
  controls.after.addEventListener("click", () => mark(1));
  controls.scrub.addEventListener("input", () => go(Number(controls.scrub.value)));
  for (const select of [controls.head, controls.which]) select.addEventListener("change", () => show(step));
  controls.whole.addEventListener("change", resize);
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", onHash);
  window.addEventListener("resize", resize);
  resize();
  onHash();
  settle();
  document.body.dataset.ready = "yes";
}

readGames(document.getElementById("games").textContent).then(setUp, (error) => {
  const told = document.getElementById("failed");
  told.hidden = false;
  told.append(` (${error.message})`);
});
