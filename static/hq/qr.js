// A QR symbol (ISO/IEC 18004) of a short text, for pointing phones at a page: byte mode, level M, versions 1 to 10.
// Per version: [check codewords per block, [blocks, data codewords each], …]
const BLOCKS = [null, [10, [1, 16]], [16, [1, 28]], [26, [1, 44]], [18, [2, 32]], [24, [2, 43]], [16, [4, 27]], [18, [4, 31]], [22, [2, 38], [2, 39]], [22, [3, 36], [2, 37]], [26, [4, 43], [1, 44]]];
const ALIGN = [null, [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];
const MASKS = [(r, c) => (r + c) % 2 === 0, (r) => r % 2 === 0, (r, c) => c % 3 === 0, (r, c) => (r + c) % 3 === 0, (r, c) => (Math.floor(r / 2) + Math.floor(c / 3)) % 2 === 0,
  (r, c) => ((r * c) % 2) + ((r * c) % 3) === 0, (r, c) => (((r * c) % 2) + ((r * c) % 3)) % 2 === 0, (r, c) => (((r + c) % 2) + ((r * c) % 3)) % 2 === 0];

const EXP = [];
const LOG = [];
for (let n = 0, x = 1; n < 255; n += 1) {
  EXP[n] = x;
  LOG[x] = n;
  x = x & 128 ? (x << 1) ^ 285 : x << 1;
}
const times = (a, b) => (a && b ? EXP[(LOG[a] + LOG[b]) % 255] : 0);

function checks(data, count) {
  let generator = [1];
  for (let n = 0; n < count; n += 1) {
    const next = new Array(generator.length + 1).fill(0);
    generator.forEach((factor, at) => {
      next[at] ^= factor;
      next[at + 1] ^= times(factor, EXP[n]);
    });
    generator = next;
  }
  const rest = [...data, ...new Array(count).fill(0)];
  for (let at = 0; at < data.length; at += 1) {
    const lead = rest[at];
    if (lead) generator.forEach((factor, n) => { rest[at + n] ^= times(factor, lead); });
  }
  return rest.slice(data.length);
}

const capacity = (version) => BLOCKS[version].slice(1).reduce((sum, [blocks, size]) => sum + blocks * size, 0);

/** The version's data codewords: mode, length, bytes, end, padding. */
function codewords(bytes, version) {
  const bits = [];
  const put = (value, count) => {
    for (let n = count - 1; n >= 0; n -= 1) bits.push((value >> n) & 1);
  };
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  const room = capacity(version) * 8;
  put(0, Math.min(4, room - bits.length));
  while (bits.length % 8) bits.push(0);
  for (let pad = 0xec; bits.length < room; pad ^= 0xec ^ 0x11) put(pad, 8);
  const found = [];
  for (let at = 0; at < bits.length; at += 8) found.push(parseInt(bits.slice(at, at + 8).join(""), 2));
  return found;
}

/** Blocks with their checks, interleaved. */
function interleaved(data, version) {
  const [count, ...groups] = BLOCKS[version];
  const blocks = [];
  let at = 0;
  for (const [many, size] of groups) {
    for (let n = 0; n < many; n += 1, at += size) blocks.push(data.slice(at, at + size));
  }
  const tails = blocks.map((block) => checks(block, count));
  const longest = Math.max(...blocks.map((block) => block.length));
  const out = [];
  for (let n = 0; n < longest; n += 1) for (const block of blocks) if (n < block.length) out.push(block[n]);
  for (let n = 0; n < count; n += 1) for (const tail of tails) out.push(tail[n]);
  return out;
}

/** Function patterns: null where data goes. */
function frame(version) {
  const size = 17 + 4 * version;
  const grid = Array.from({ length: size }, () => new Array(size).fill(null));
  const square = (row, col, reach, dark) => {
    for (let r = -reach; r <= reach; r += 1) {
      for (let c = -reach; c <= reach; c += 1) {
        if (grid[row + r]?.[col + c] !== undefined) grid[row + r][col + c] = dark(Math.max(Math.abs(r), Math.abs(c)));
      }
    }
  };
  for (const [row, col] of [[3, 3], [3, size - 4], [size - 4, 3]]) square(row, col, 4, (ring) => ring !== 2 && ring !== 4);
  for (let n = 8; n < size - 8; n += 1) grid[6][n] = grid[n][6] = n % 2 === 0;
  const centres = ALIGN[version];
  for (const row of centres) {
    for (const col of centres) {
      const corner = (row === 6 && (col === 6 || col === size - 7)) || (row === size - 7 && col === 6);
      if (!corner) square(row, col, 2, (ring) => ring !== 1);
    }
  }
  for (let n = 0; n < 9; n += 1) {
    if (grid[8][n] === null) grid[8][n] = false;
    if (grid[n][8] === null) grid[n][8] = false;
    if (n < 8) grid[8][size - 1 - n] = grid[size - 1 - n][8] = false;
  }
  grid[size - 8][8] = true;
  if (version > 6) {
    let rest = version;
    for (let n = 0; n < 12; n += 1) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
    const bits = (version << 12) | rest;
    for (let n = 0; n < 18; n += 1) {
      const dark = Boolean((bits >> n) & 1);
      grid[Math.floor(n / 3)][size - 11 + (n % 3)] = grid[size - 11 + (n % 3)][Math.floor(n / 3)] = dark;
    }
  }
  return grid;
}

function filled(version, words, mask) {
  const free = frame(version);
  const size = free.length;
  const grid = free.map((row) => [...row]);
  let bit = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right -= 1;
    for (let n = 0; n < size; n += 1) {
      const row = up ? size - 1 - n : n;
      for (const col of [right, right - 1]) {
        if (free[row][col] !== null) continue;
        const dark = bit < words.length * 8 && Boolean((words[bit >> 3] >> (7 - (bit & 7))) & 1);
        grid[row][col] = dark !== MASKS[mask](row, col);
        bit += 1;
      }
    }
  }
  let rest = mask; // level M is 00
  for (let n = 0; n < 10; n += 1) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const format = ((mask << 10) | rest) ^ 0x5412;
  for (let n = 0; n < 15; n += 1) {
    const dark = Boolean((format >> n) & 1);
    if (n < 6) grid[n][8] = dark;
    else if (n < 8) grid[n + 1][8] = dark;
    else grid[size - 15 + n][8] = dark;
    if (n < 8) grid[8][size - 1 - n] = dark;
    else grid[8][n === 8 ? 7 : 14 - n] = dark;
  }
  return grid;
}

/** How hard a symbol is to read; the mask with the least is taken. */
function penalty(grid) {
  const size = grid.length;
  const lines = [...grid, ...grid.map((_, col) => grid.map((row) => row[col]))];
  let sum = 0;
  for (const line of lines) {
    for (let n = 0, run = 1; n < size; n += 1, run = line[n] === line[n - 1] ? run + 1 : 1) if (run === 5) sum += 3; else if (run > 5) sum += 1;
    const text = line.map(Number).join("");
    for (let n = 0; n + 11 <= size; n += 1) if (["10111010000", "00001011101"].includes(text.slice(n, n + 11))) sum += 40;
  }
  for (let r = 0; r + 1 < size; r += 1) for (let c = 0; c + 1 < size; c += 1) if (grid[r][c] === grid[r][c + 1] && grid[r][c] === grid[r + 1][c] && grid[r][c] === grid[r + 1][c + 1]) sum += 3;
  const dark = grid.flat().filter(Boolean).length;
  return sum + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}

/** Rows of booleans, dark is true. Throws RangeError when the text needs more than version 10 (213 bytes). `mask` for tests. */
export function qr(text, mask = null) {
  const bytes = [...new TextEncoder().encode(text)];
  let version = 1;
  while (version <= 10 && bytes.length > capacity(version) - (version < 10 ? 2 : 3)) version += 1;
  if (version > 10) throw new RangeError("too long for a QR symbol here");
  const words = interleaved(codewords(bytes, version), version);
  if (mask !== null) return filled(version, words, mask);
  return MASKS.map((_, n) => filled(version, words, n)).map((grid) => [penalty(grid), grid]).sort((a, b) => a[0] - b[0])[0][1];
}

/** The symbol as one SVG path, one unit a module, with a quiet zone of 4: {path, size}. */
export function qrPath(text) {
  const grid = qr(text);
  const path = grid.map((row, r) => row.map((dark, c) => (dark ? `M${c + 4} ${r + 4}h1v1h-1z` : "")).join("")).join("");
  return { path, size: grid.length + 8 };
}
