"use strict";
const TRACE_S = 10, STILL_MS = 2000, SILENT_MS = 5000, MOST_ERROR_UM = 1, BETWEEN_MS = 100, PATIENCE_MS = 5000;
const at = id => document.getElementById(id);
const say = (id, text) => { if (at(id).textContent !== String(text)) at(id).textContent = text; };
const canvas = at("picture"), ink = canvas.getContext("2d");

// The token stays in this tab and leaves the address, which others may see or save.
const token = new URLSearchParams(location.search).get("token");
if (token !== null) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname);
}

let about = null;      // the newest answer, with or without a frame
let shown = null;      // the newest answer with a frame
let picked = null;     // the cell that was chosen here
let ended = false;
let frameMs = performance.now();  // when the newest frame came
let cellMs = performance.now();   // when there was last a cell
const heights = new Map();        // of each cell: [{ t, z, error }], oldest first
const drives = [];                // [{ t, z }]
const rows = new Map();

// Light and dark ----------------------------------------------------------------------------------

function scheme(name) {
  document.documentElement.dataset.scheme = name;
  say("scheme", name === "dark" ? "Light" : "Dark");
}
const system = matchMedia("(prefers-color-scheme: dark)");
const wished = () => localStorage.getItem("scheme") ?? (system.matches ? "dark" : "light");
scheme(wished());
system.addEventListener("change", () => scheme(wished()));
at("scheme").addEventListener("click", () => {
  localStorage.setItem("scheme", document.documentElement.dataset.scheme === "dark" ? "light" : "dark");
  scheme(wished());
});

// Numbers -----------------------------------------------------------------------------------------

function number(value, digits, sign) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : sign ? "+" : "") + text;
}

const known = cell => cell.z_um !== null && cell.z_error_um <= MOST_ERROR_UM;

function height(cell) {
  if (known(cell)) return `${number(cell.z_um, 2, true)} ± ${number(cell.z_error_um, 2)}`;
  if (cell.z_um !== null) return "unknown";
  if (!cell.seen) return "not found";
  return cell.depth_um === null ? "near border" : "out of range";
}

// The chosen cell ---------------------------------------------------------------------------------

function chosen() {
  if (picked !== null && heights.has(picked)) return picked;
  const frame = shown?.frame;
  return frame?.target ?? frame?.cells[0]?.id ?? null;
}

function choose(id) {
  picked = id;
  if (shown) render();
}

function step(by) {
  const ids = shown ? shown.frame.cells.map(cell => cell.id) : [];
  const place = ids.indexOf(chosen());
  if (ids.length) choose(ids[place < 0 ? 0 : (place + by + ids.length) % ids.length]);
}

// Picture -----------------------------------------------------------------------------------------

function colour(depth, half) {
  if (depth === null) return "#b0b0b0";
  const share = Math.min(1, Math.abs(depth) / half), rest = Math.round(255 * (1 - .85 * share));
  return depth > 0 ? `rgb(255,${Math.round(255 - 110 * share)},${rest})` : `rgb(${rest},${Math.round(255 - 80 * share)},255)`;
}

function draw() {
  const { frame, step, image, half_range_um } = shown;
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width; canvas.height = image.height;
  }
  ink.drawImage(image, 0, 0);
  const fine = canvas.width / (canvas.clientWidth || canvas.width);  // a pixel of the screen
  ink.font = `600 ${14 * fine}px system-ui, sans-serif`;
  for (const cell of frame.cells) {
    const x = cell.x_px / step, y = cell.y_px / step, half = Math.max(11 * fine, 36 / step);
    const big = half + 9 * fine, own = cell.id === chosen();
    const ring = new Path2D(), square = new Path2D();
    ring.arc(x, y, half, 0, 7);
    if (cell.id === frame.target) { ring.moveTo(x + half + 5 * fine, y); ring.arc(x, y, half + 5 * fine, 0, 7); }
    if (own) square.rect(x - big, y - big, 2 * big, 2 * big);
    ink.fillStyle = colour(known(cell) ? frame.drive_um - cell.z_um : null, half_range_um);
    ink.globalAlpha = cell.seen ? 1 : .6;
    for (const [width, style] of [[4, "rgba(0,0,0,.5)"], [2, ink.fillStyle]]) {  // seen on any ground
      ink.lineWidth = width * fine; ink.strokeStyle = style;
      ink.setLineDash(cell.seen ? [] : [4 * fine, 4 * fine]);
      ink.stroke(ring);
      ink.setLineDash([]);
      ink.stroke(square);
    }
    if (cell.segmented) { ink.beginPath(); ink.arc(x, y, 2.5 * fine, 0, 7); ink.fill(); }
    const label = known(cell) && (own || fine < 2) ? `${cell.id}: ${height(cell)}` : `${cell.id}`;
    ink.lineWidth = 3 * fine; ink.strokeStyle = "rgba(0,0,0,.7)";
    const left = Math.min(x + (own ? big : half) + 4 * fine, canvas.width - ink.measureText(label).width - 4 * fine);
    ink.strokeText(label, left, y - half); ink.fillText(label, left, y - half);
    ink.globalAlpha = 1;
  }
  if (frame.goal_x_px !== null) cross(frame.goal_x_px / step, frame.goal_y_px / step, fine);
  if (frame.pipette) tip(frame.pipette, step, fine);
}

// The tip of the micropipette: a diamond, filled while the pump works.
function tip({ x_px, y_px, flow_nl_s }, step, fine) {
  const x = x_px / step, y = y_px / step, arm = 7 * fine, path = new Path2D();
  path.moveTo(x - arm, y); path.lineTo(x, y - arm); path.lineTo(x + arm, y); path.lineTo(x, y + arm); path.closePath();
  for (const [width, style] of [[4, "rgba(0,0,0,.5)"], [2, "#ffe066"]]) {
    ink.lineWidth = width * fine; ink.strokeStyle = style;
    ink.stroke(path);
  }
  if (flow_nl_s) { ink.fillStyle = "#ffe066"; ink.fill(path); }
}

// Where the x/y stage keeps the cell.
function cross(x, y, fine) {
  const path = new Path2D(), arm = 8 * fine;
  path.moveTo(x - arm, y); path.lineTo(x + arm, y);
  path.moveTo(x, y - arm); path.lineTo(x, y + arm);
  for (const [width, style] of [[4, "rgba(0,0,0,.5)"], [2, "#fff"]]) {
    ink.lineWidth = width * fine; ink.strokeStyle = style;
    ink.stroke(path);
  }
}

function nearest(event) {
  if (!shown) return null;
  const box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * canvas.width * shown.step;
  const y = (event.clientY - box.top) / box.height * canvas.height * shown.step;
  const away = cell => Math.hypot(cell.x_px - x, cell.y_px - y);
  return shown.frame.cells.slice().sort((a, b) => away(a) - away(b))[0]?.id ?? null;
}

// Table -------------------------------------------------------------------------------------------

function row(id) {
  const made = document.createElement("tr");
  made.dataset.id = id;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = id;
  button.setAttribute("aria-label", `choose cell ${id}`);
  made.append(...[0, 1, 2, 3].map(() => document.createElement("td")));
  made.firstChild.append(button);
  made.addEventListener("click", () => choose(id));
  at("cells").append(made);
  rows.set(id, made);
  return made;
}

// Rows stay in place from frame to frame, so that a click or the focus is not lost.
function list() {
  const { cells, target } = shown.frame, own = chosen();
  for (const id of [...rows.keys()])
    if (!cells.some(cell => cell.id === id)) { rows.get(id).remove(); rows.delete(id); }
  for (const cell of cells) {
    const line = rows.get(cell.id) ?? row(cell.id);
    line.className = [cell.id === target && "target", cell.id === own && "chosen", !cell.seen && "lost"].filter(Boolean).join(" ");
    line.firstChild.firstChild.setAttribute("aria-pressed", cell.id === own);
    const texts = [height(cell), number(cell.depth_um, 2, true), number(Math.hypot(cell.vx_um_s, cell.vy_um_s), 0)];
    texts.forEach((text, k) => { const box = line.children[k + 1]; if (box.textContent !== text) box.textContent = text; });
  }
}

function awaits() {
  if (!shown) return "Waiting for the first frame.";
  const { cells, unconfirmed } = shown.frame, silent = performance.now() - cellMs;
  if (cells.length) return "";
  if (unconfirmed) return `No cell yet: ${unconfirmed} may be, and must be found in more frames.`;
  if (silent < SILENT_MS) return "No head found yet.";
  return `No head found for ${number(silent / 1000, 0)} s: check the focus, the light, the rig's pixel size and --head-length.`;
}

// Trace -------------------------------------------------------------------------------------------

function remember(frame) {
  const t = frame.time_ns / 1e9, old = list => { while (list.length && (list[0].t < t - TRACE_S || list[0].t > t)) list.shift(); };
  drives.push({ t, z: frame.drive_um });
  for (const cell of frame.cells) {
    if (!heights.has(cell.id)) heights.set(cell.id, []);
    heights.get(cell.id).push({ t, z: known(cell) ? cell.z_um : null, error: cell.z_error_um });
  }
  old(drives);
  for (const [id, seen] of heights) { old(seen); if (!seen.length) heights.delete(id); }
}

function shape(name, of, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(of)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Parts of a trace without a gap.
function parts(points) {
  const found = [[]];
  let last = null;
  for (const point of points) {
    if (last !== null && (point.z === null || point.t - last > 1)) found.push([]);
    if (point.z !== null) { found.at(-1).push(point); last = point.t; }
  }
  return found.filter(part => part.length);
}

function trace() {
  const id = chosen(), seen = parts(heights.get(id) ?? []), all = seen.flat();
  const now = drives.length ? drives.at(-1).t : 0;
  const values = [...all.flatMap(p => [p.z - p.error, p.z + p.error]), ...drives.map(p => p.z)];
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [-1, 1];
  const middle = (low + high) / 2, half = Math.max(1, (high - low) / 2 * 1.08);
  const [left, right, top, bottom] = [44, 352, 10, 126];
  const x = t => (left + (right - left) * Math.max(0, 1 + (t - now) / TRACE_S)).toFixed(1);
  const y = z => (top + (bottom - top) * (middle + half - z) / 2 / half).toFixed(1);
  const line = (points, of = p => p.z) => points.map(p => `${x(p.t)},${y(of(p))}`);
  const drawn = [];
  for (const z of [middle + half, middle, middle - half]) {
    drawn.push(shape("line", { class: "axis", x1: left, x2: right, y1: y(z), y2: y(z) }));
    drawn.push(shape("text", { x: left - 5, y: Number(y(z)) + 4, "text-anchor": "end" }, number(z, 1, true)));
  }
  drawn.push(shape("text", { x: left, y: 143 }, `−${TRACE_S} s`), shape("text", { x: right, y: 143, "text-anchor": "end" }, "now"));
  drawn.push(shape("text", { x: (left + right) / 2, y: 143, "text-anchor": "middle" }, "z (µm), dashed: the drive"));
  for (const part of seen) {
    drawn.push(shape("polygon", { class: "error", points: [...line(part, p => p.z + p.error), ...line(part, p => p.z - p.error).reverse()].join(" ") }));
    drawn.push(shape("polyline", { class: "z", points: line(part).join(" ") }));
  }
  for (const part of parts(drives)) drawn.push(shape("polyline", { class: "drive", points: line(part).join(" ") }));
  at("trace").replaceChildren(...drawn);
  const ends = all.map(p => p.z);
  at("trace").setAttribute("aria-label", all.length
    ? `z of cell ${id} over the last ten seconds: now ${number(ends.at(-1), 1, true)} µm, from ${number(Math.min(...ends), 1, true)} to ${number(Math.max(...ends), 1, true)} µm`
    : "No height yet");
}

function panel() {
  const id = chosen(), { frame } = shown, cell = frame.cells.find(each => each.id === id);
  say("name", id === null ? "No cell" : `Cell ${id}`);
  at("one").hidden = id === null;
  say("reading", cell ? `z ${height(cell)}${known(cell) ? " µm" : ""}, drive ${number(frame.drive_um, 2, true)} µm` : "It is no longer followed.");
  for (const name of ["previous", "next"]) at(name).disabled = !frame.cells.length;
  at("follow").disabled = !cell;
  say("follow", id === null ? "Follow it" : `Follow ${id}`);
  at("limit").hidden = !frame.at_limit;
  at("stage").hidden = !frame.stage_at_limit;
  say("place", place(frame));
  say("pipette", pipette(frame));
}

// What the micropipette does.
function pipette({ pipette, cells, target }) {
  if (ended || !pipette) return "";
  const { trial, trials, state, flow_nl_s, z_um, last } = pipette, cell = cells.find(each => each.id === target);
  const over = cell && known(cell) ? `, cell ${target} at ${number(cell.z_um - z_um, 2, true)} µm from it` : "";
  const flow = flow_nl_s ? `the pump ${flow_nl_s > 0 ? "draws" : "expels"} ${number(Math.abs(flow_nl_s), 2)} nL/s` : "the pump stands";
  return `Trial ${trial} of ${trials}: ${state}. Tip (diamond) in focus at ${number(z_um, 2, true)} µm${over}; ${flow}.${last ? ` Last trial: ${last}.` : ""}`;
}

// What the x/y stage does.
function place(frame) {
  if (ended || frame.stage_x_um === null) return "";
  const here = `x ${number(frame.stage_x_um, 1)}, y ${number(frame.stage_y_um, 1)} µm`;
  return frame.off_um === null ? `The x/y stage stands at ${here}.`
    : `The x/y stage follows at ${here}: the cell is ${number(frame.off_um, 1)} µm from its place (cross).`;
}

// What the drive does; it may have changed since the newest frame.
function drive() {
  if (ended || !about?.chooses) return "";
  if (about.stop) return moves() ? "" : "To stop, open the printed address with its token, or press Ctrl-C in the terminal.";
  if (!moves()) return "To follow cells, open the printed address with its token.";
  const { follows } = about, target = shown?.frame.target ?? null;
  if (follows === null) return "The drive stands still.";
  if (follows === "centre") return target === null ? "The drive waits for a cell to follow." : `The drive follows cell ${target}, the one at the centre.`;
  return target === follows ? `The drive follows cell ${follows}.` : `The drive waits for cell ${follows}.`;
}

function stats() {
  const { frame } = shown;
  say("title", about.title);
  say("count", frame.cells.length);
  say("frame", frame.frame_id);
  say("p50", number(frame.latency_p50_ms, 1));
  say("p99", number(frame.latency_p99_ms, 1));
  say("dropped", frame.dropped);
  at("drops").className = frame.dropped ? "bad" : "";
  say("drive", number(frame.drive_um, 2, true));
}

function render() { draw(); list(); panel(); trace(); stats(); }

// Moves -------------------------------------------------------------------------------------------

async function post(path, body, refused) {
  const headers = { "Content-Type": "application/json", "X-Fgaf-Token": sessionStorage.getItem("token") ?? "" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  at("refused").hidden = answer?.ok ?? false;
  say("refused", answer?.ok ? "" : `${refused}: ${answer ? await answer.text() : "the program does not answer"}.`);
}

const follow = id => post("/track", { id }, "The cell is not followed");
const stop = () => post("/stop", {}, about?.stop ? "Nothing was stopped" : "The drive still follows");
const moves = () => about?.chooses && (!about.needs_token || sessionStorage.getItem("token") !== null);

const follows = () => moves() && !about.stop;

canvas.addEventListener("click", event => { const id = nearest(event); if (id !== null) choose(id); });
canvas.addEventListener("dblclick", event => { const id = nearest(event); if (id !== null && follows()) follow(id); });
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
at("follow").addEventListener("click", () => follow(chosen()));
at("centre").addEventListener("click", () => follow(null));
at("stop").addEventListener("click", stop);
at("end").addEventListener("click", stop);

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat && event.key === "Enter") return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "Enter" && follows() && chosen() !== null && !event.target.closest("button, summary")) follow(chosen());
  else if (event.key === "Escape" && moves()) stop();
  else return;
  event.preventDefault();
});

// The loop ----------------------------------------------------------------------------------------

function end(why, heard) {
  if (ended) return;
  ended = true;
  const { command, record } = about ?? {};
  say("why", `${new Date().toLocaleTimeString()}: ${why}`);
  at("again").hidden = !command;
  say("command", command ?? "");
  at("recorded").hidden = !(heard && record && shown);
  say("recorded", `The results are in ${record}: give --record another name.`);
  if (shown) render();
  at("ending").hidden = false;
  at("ending").scrollIntoView({ block: "nearest" });
}

function begin() {
  ended = false;
  heights.clear();
  drives.length = 0;
  picked = null;
}

function state() {
  const still = performance.now() - frameMs;
  const waits = shown ? `no new frame for ${number(still / 1000, 0)} s` : "waiting for the first frame";
  say("state", ended ? "ended" : shown && still < STILL_MS ? "" : waits);
  at("ending").hidden = !ended;
  document.body.className = ended || shown && still >= STILL_MS ? "still" : "";
  say("rate", ended ? "0.0" : about ? number(about.rate_hz, 1) : "–");
  say("awaits", ended ? "" : awaits());
  say("follows", drive());
  at("stop").disabled = about?.follows === null;
  at("moves").hidden = ended || !shown || !follows();
  at("halt").hidden = ended || !about?.stop || !moves();
  say("end", about?.stop ?? "");
  document.title = `${ended ? "ended: " : ""}${about?.title ?? "fgaf live"}`;
}

async function ask() {
  const answer = await fetch(`/snapshot?after=${shown?.frame.frame_id ?? ""}`, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
  if (answer === null) return end("it does not answer; it was killed, or the network is gone", false);
  const all = about = await answer.json();
  if (all.ended !== null) return end(all.ended, true);
  if (ended) begin();
  if (!all.frame) return;
  all.image = new Image();
  all.image.src = "data:image/jpeg;base64," + all.jpeg;
  await all.image.decode();
  shown = all;
  frameMs = performance.now();
  if (all.frame.cells.length) cellMs = frameMs;
  remember(all.frame);
  render();
}

async function run() {
  for (;;) {
    const begun = performance.now();
    await ask().catch(console.error);
    state();
    const pause = ended ? 1000 : BETWEEN_MS - (performance.now() - begun);
    await new Promise(done => setTimeout(done, Math.max(0, pause)));
  }
}
setInterval(state, 500);
run();
