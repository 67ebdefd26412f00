// Reads the games that the page carries: see tedg/replay/pack.py.
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array, float32: Float32Array };

async function readGames(text) {
  const packed = atob(text.trim());
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const game of told.games) {
    game.width = {};
    for (const column of game.columns) {
      const raw = buffer.slice(4 + length + column.start, 4 + length + column.start + column.bytes);
      if (column.xor) undoXor(new Uint8Array(raw), column.bytes / game.steps);
      game[column.name] = new TYPES[column.type](raw);
      game.width[column.name] = column.width;
    }
  }
  return told;
}

function undoXor(bytes, width) {
  for (let i = width; i < bytes.length; i++) bytes[i] ^= bytes[i - width];
}

// One row of a column; nothing where the game has no such column.
function row(game, name, step) {
  const width = game.width[name] ?? 0;
  return width ? game[name].subarray(step * width, (step + 1) * width) : [];
}

function bit(game, name, step, place) {
  return (game[name][step * game.width[name] + (place >> 3)] >> (place & 7)) & 1;
}

// Does a literal hold in a step? Negated ones begin with "¬".
function holds(game, literal, step) {
  const negated = literal.startsWith("¬");
  const place = game.atomPlace.get(negated ? literal.slice(1) : literal);
  return bit(game, "atoms", step, place) === (negated ? 0 : 1);
}
