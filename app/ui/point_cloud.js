// The point cloud of tokens (app/ui/point_cloud.py): turns, moves, zooms, and shifts the points as the
// strength of the projection is dragged, all in the browser. Text is set through textContent only.

const clouds = new WeakMap(); // what a cloud keeps when the page runs again: how it is turned, moved and zoomed
const MARKS = { circle: "●", diamond: "◆", square: "■", cross: "✕", triangle: "▲", plus: "✚" };
const NEAR = 14; // pixels within which a point is meant

const decoded = (text, Kind) => new Kind(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer);
const written = (number) => `${Number(number.toPrecision(3))}`.replace("-", "−");
const piece = (kind, text, tag = "span") => Object.assign(document.createElement(tag), { className: kind, textContent: text });

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  const find = (name) => parentElement.querySelector(name);
  const stage = find(".stage"), back = find(".back"), front = find(".front"), tip = find(".tip");
  const slider = find(".strength"), said = find(".said"), legend = find(".legend"), note = find(".note");
  const seen = clouds.get(stage) ?? { yaw: 0.6, pitch: 0.35, zoom: 1, shift: [0, 0], hidden: new Set(), axes: "" };
  clouds.set(stage, seen);
  seen.end?.(); // of the last time
  seen.painter ??= painter(find(".points"));
  const points = find(".points"), deep = data.axes.length > 2;

  // --- the points -------------------------------------------------------------------------------------------
  const columns = data.axes.map((axis) => decoded(axis.values, Float32Array));
  const rows = decoded(data.rows, Uint32Array), groups = decoded(data.groups, Uint8Array);
  const values = new Float32Array(3 * rows.length);
  columns.forEach((column, axis) => column.forEach((value, i) => { values[3 * i + axis] = value; }));
  const shapes = Uint8Array.from(groups, (group) => SHAPES.indexOf(data.shapes[group]));
  const bases = data.colours.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const starts = data.texts.reduce((found, text) => [...found, found.at(-1) + text.tokens.length], [0]);

  if (seen.axes !== data.view) Object.assign(seen, { axes: data.view, zoom: 1, shift: [0, 0] });
  if (seen.colours !== data.names.join()) Object.assign(seen, { colours: data.names.join(), hidden: new Set() });
  if (seen.given !== data.strength) Object.assign(seen, { given: data.strength, strength: data.strength ?? 0 });

  const load = () => {
    const inks = new Uint8Array(4 * rows.length);
    groups.forEach((group, i) => inks.set([...bases[group], seen.hidden.has(group) ? 0 : 205], 4 * i));
    seen.painter.load({ values, inks, shapes });
  };

  const camera = () => {
    const [cy, sy, cp, sp] = [Math.cos(seen.yaw), Math.sin(seen.yaw), Math.cos(seen.pitch), Math.sin(seen.pitch)];
    const view = deep ? [[cy, 0, -sy], [sy * sp, cp, cy * sp], [sy * cp, -sp, cy * cp]] : [[1, 0, 0], [0, 1, 0], [0, 0, 0]];
    const [w, h] = [stage.clientWidth, stage.clientHeight];
    const room = Math.min(w / 2 - 30, h / 2 - 10) / 1.45; // a turned cube of 2 fits
    const scale = deep ? [room, room] : [w / 2 - 44, h / 2 - 30];
    const three = (one, none = 1) => [0, 1, 2].map((at) => (data.axes[at] ? one(data.axes[at]) : none));
    return {
      deep, view, scale: scale.map((part) => part * seen.zoom),
      shift: [seen.shift[0] + (deep ? 0 : 20), seen.shift[1] + (deep ? 0 : 12)],
      middle: three(({ ends }) => (ends[0] + ends[1]) / 2, 0),
      half: three(({ ends }) => (ends[1] - ends[0]) / 2), left: three(({ shrinks }) => (shrinks ? 1 - seen.strength : 1)),
      size: (rows.length > 4000 ? 5 : 7.5) * Math.sqrt(seen.zoom),
    };
  };

  // --- drawing ----------------------------------------------------------------------------------------------
  const style = getComputedStyle(stage);
  const cleared = (canvas) => {
    const pen = canvas.getContext("2d"), ratio = devicePixelRatio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    pen.font = `${(12 / 14) * parseFloat(style.fontSize)}px ${style.getPropertyValue("--st-font") || "sans-serif"}`;
    pen.strokeStyle = data.grid;
    pen.fillStyle = style.color;
    return pen;
  };
  const spot = (xyz, cam) => placed(xyz, 0, { ...cam, left: [1, 1, 1] }, stage.clientWidth, stage.clientHeight);
  const line = (pen, from, to) => { pen.beginPath(); pen.moveTo(from[0], from[1]); pen.lineTo(to[0], to[1]); pen.stroke(); };

  const drawPlane = (pen, cam) => {
    const [w, h] = [stage.clientWidth, stage.clientHeight], [x, y] = data.axes;
    const value = (pixel, at, size, sign) => cam.middle[at] + (cam.half[at] * (sign * (pixel - size / 2) - cam.shift[at])) / cam.scale[at];
    const lines = (from, to) => {
      const step = 10 ** Math.floor(Math.log10((to - from) / 3)), wide = step * [1, 2, 5].find((n) => (to - from) / (step * n) <= 7);
      return Array.from({ length: 12 }, (_, i) => (Math.ceil(from / wide) + i) * wide).filter((tick) => tick <= to);
    };
    pen.textAlign = "center";
    const edge = 60; // numbers such as 0.0008 stand beside the axis' title
    for (const tick of lines(value(edge, 0, w, 1), value(w, 0, w, 1))) {
      const [at] = spot([tick, 0, 0], cam);
      pen.lineWidth = tick === 0 ? 2 : 1;
      line(pen, [at, 0], [at, h - 34]);
      pen.fillText(written(tick), at, h - 20);
    }
    pen.textAlign = "right";
    for (const tick of lines(value(h - 34, 1, h, -1), value(0, 1, h, -1))) {
      const [, at] = spot([0, tick, 0], cam);
      pen.lineWidth = tick === 0 ? 2 : 1;
      line(pen, [edge, at], [w, at]);
      if (at > 8) pen.fillText(written(tick), edge - 4, at + 4);
    }
    pen.textAlign = "center";
    pen.fillText(x.title, w / 2 + 20, h - 4);
    pen.save();
    pen.translate(11, h / 2 - 15);
    pen.rotate(-Math.PI / 2);
    pen.fillText(y.title, 0, 0);
    pen.restore();
  };

  const drawSpace = (pen, cam) => {
    const ends = data.axes.map((axis) => axis.ends), low = ends.map(([from]) => from);
    const corner = (bits) => ends.map((pair, at) => pair[(bits >> at) & 1]);
    pen.lineWidth = 1;
    for (let bits = 0; bits < 8; bits++) {
      for (const at of [0, 1, 2]) if (!((bits >> at) & 1)) line(pen, spot(corner(bits), cam), spot(corner(bits | (1 << at)), cam));
    }
    if (data.even) return; // its directions have names of their own
    pen.textAlign = "center";
    data.axes.forEach((axis, at) => {
      const side = low.map((from, other) => (other === at ? (axis.ends[0] + axis.ends[1]) / 2 : from));
      const [x, y] = spot(side, cam);
      pen.fillText(axis.short, x, y + (at === 1 ? 4 : 15));
      for (const end of axis.ends.map((to, far) => to + (far ? -0.08 : 0.08) * (axis.ends[1] - axis.ends[0]))) {
        const [left, top] = spot(low.map((from, other) => (other === at ? end : from)), cam);
        pen.fillText(written(end), left + [10, 24, -10][at], top + (at === 1 ? 4 : 15)); // ends of two axes meet
      }
    });
  };

  const ring = (pen, i, cam, width) => {
    const [x, y] = placed(values, i, cam, stage.clientWidth, stage.clientHeight);
    pen.strokeStyle = style.color;
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, 9, 0, 7);
    pen.stroke();
  };

  const through = (pen, { end, name, colour, width, both }, cam) => {
    const from = spot(both ? end.map((one) => -one) : [0, 0, 0], cam), to = spot(end, cam);
    const [right, down] = [to[0] - from[0], to[1] - from[1]], long = Math.hypot(right, down) || 1;
    [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [colour, colour, width];
    line(pen, from, to);
    if (!both) { // the head of an arrow
      const [a, b] = [(right / long) * 5 * width, (down / long) * 5 * width];
      pen.beginPath();
      pen.moveTo(to[0] + a / 2, to[1] + b / 2);
      pen.lineTo(to[0] - a / 2 - b / 2, to[1] - b / 2 + a / 2);
      pen.lineTo(to[0] - a / 2 + b / 2, to[1] - b / 2 - a / 2);
      pen.fill();
    }
    const [x, y] = [to[0] + (14 * right) / long, to[1] + (14 * down) / long + 4];
    pen.textAlign = right < -0.3 * long ? "right" : right > 0.3 * long ? "left" : "center";
    [pen.strokeStyle, pen.lineWidth] = [style.getPropertyValue("--st-background-color"), 4];
    pen.strokeText(name, x, y);
    pen.fillText(name, x, y);
  };

  let asked = 0;
  const draw = () => {
    asked = 0;
    const cam = camera(), pen = cleared(back);
    (deep ? drawSpace : drawPlane)(pen, cam);
    seen.painter.paint(cam);
    const over = cleared(front), selected = rows.indexOf(data.selected ?? -1);
    for (const one of data.lines) through(over, { ...one, end: [...one.end, 0].slice(0, 3) }, cam);
    if (selected >= 0) ring(over, selected, cam, 3);
    if (seen.hovered !== undefined && seen.hovered < rows.length) ring(over, seen.hovered, cam, 1.5);
    stage.dataset.drawn = `${Number(stage.dataset.drawn ?? 0) + 1}`;
  };
  const redraw = () => { asked ||= requestAnimationFrame(draw); };

  // --- what is pointed at -----------------------------------------------------------------------------------
  const nearest = (event) => {
    const box = stage.getBoundingClientRect(), cam = camera();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let found, best = NEAR;
    for (let i = 0; i < rows.length; i++) {
      if (seen.hidden.has(groups[i])) continue;
      const [x, y, far] = placed(values, i, cam, box.width, box.height);
      const away = Math.hypot(x - left, y - top) + (deep ? far * 0.01 : 0);
      if (away < best) [best, found] = [away, i];
    }
    return found;
  };

  const tell = (i) => {
    seen.hovered = i;
    tip.hidden = i === undefined;
    redraw();
    if (i === undefined) return;
    const row = rows[i], at = starts.findLastIndex((start) => start <= row), text = data.texts[at], token = row - starts[at];
    const near = piece("near", "", "div");
    near.append(
      piece("", `${token > 5 ? "…" : ""}${text.tokens.slice(Math.max(0, token - 5), token).join("")}`),
      piece("", text.tokens[token], "b"),
      piece("", `${text.tokens.slice(token + 1, token + 5).join("")}${token + 5 < text.tokens.length ? "…" : ""}`),
    );
    const cam = camera();
    const numbers = data.axes.map((axis, n) => `${axis.short} ${written(columns[n][i] * cam.left[n])}`).join(" · ");
    tip.replaceChildren(
      near, piece("", `${data.ordered ? "" : `${data.names[groups[i]]} · `}text ${at + 1} (${text.name}), position ${token}`, "div"),
      piece("", `${numbers} ${data.unit}`, "div"),
    );
    const [x, y] = placed(values, i, cam, stage.clientWidth, stage.clientHeight);
    tip.style.left = `${Math.max(0, Math.min(x + 14, stage.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y + 14 + tip.offsetHeight > stage.clientHeight ? Math.max(0, y - tip.offsetHeight - 14) : y + 14}px`;
  };

  // --- hands ------------------------------------------------------------------------------------------------
  const turn = (right, up) => {
    if (deep) Object.assign(seen, { yaw: seen.yaw + right / 160, pitch: Math.max(-1.5, Math.min(1.5, seen.pitch + up / 160)) });
    else seen.shift = [seen.shift[0] + right, seen.shift[1] - up];
    redraw();
  };
  const zoom = (by) => { seen.zoom = Math.max(0.5, Math.min(40, seen.zoom * by)); redraw(); };
  const reset = () => { Object.assign(seen, { yaw: 0.6, pitch: 0.35, zoom: 1, shift: [0, 0] }); redraw(); };

  let held = null;
  front.onpointerdown = (event) => { held = { x: event.clientX, y: event.clientY, moved: 0 }; front.setPointerCapture(event.pointerId); };
  front.onpointermove = (event) => {
    if (!held) return tell(nearest(event));
    const [right, down] = [event.clientX - held.x, event.clientY - held.y];
    held = { x: event.clientX, y: event.clientY, moved: held.moved + Math.abs(right) + Math.abs(down) };
    if (held.moved > 4) { tip.hidden = true; seen.hovered = undefined; turn(right, down); }
  };
  front.onpointerup = (event) => {
    const clicked = held && held.moved <= 4 ? nearest(event) : undefined;
    held = null;
    if (clicked !== undefined) { tell(clicked); setTriggerValue("picked", rows[clicked]); }
  };
  front.onpointercancel = () => { held = null; };
  front.onpointerleave = () => { if (!held) tell(undefined); };
  front.ondblclick = reset;
  front.onwheel = (event) => { if (event.ctrlKey) { event.preventDefault(); zoom(Math.exp(-event.deltaY / 300)); } };
  front.onkeydown = (event) => {
    const does = { ArrowLeft: () => turn(-16, 0), ArrowRight: () => turn(16, 0), ArrowUp: () => turn(0, -16),
                   ArrowDown: () => turn(0, 16), "+": () => zoom(1.25), "-": () => zoom(0.8), Home: reset, Escape: () => tell(undefined) };
    if (!does[event.key]) return;
    event.preventDefault();
    does[event.key]();
  };
  find(".in").onclick = () => zoom(1.5);
  find(".out").onclick = () => zoom(1 / 1.5);
  find(".reset").onclick = reset;

  const say = () => { said.textContent = seen.strength.toFixed(2); slider.setAttribute("aria-valuetext", `strength ${said.textContent}`); };
  slider.value = seen.strength;
  slider.oninput = () => { seen.strength = Number(slider.value); say(); redraw(); };
  slider.onchange = () => setStateValue("strength", Number(slider.value));
  say();

  // --- the rest ---------------------------------------------------------------------------------------------
  const mark = (group) => {
    const sign = piece("mark", MARKS[data.shapes[group]]);
    sign.style.color = data.colours[group];
    return sign;
  };
  if (data.ordered) {
    legend.replaceChildren(piece("", data.ordered[0]), ...data.names.map((_, group) => mark(group)), piece("", data.ordered[1]));
  } else {
    const there = new Set(groups);
    legend.replaceChildren(...data.names.flatMap((name, group) => {
      if (!there.has(group)) return [];
      const button = piece("group", "", "button");
      button.append(mark(group), piece("", name));
      button.setAttribute("aria-pressed", !seen.hidden.has(group));
      button.onclick = () => {
        if (!seen.hidden.delete(group)) seen.hidden.add(group);
        button.setAttribute("aria-pressed", !seen.hidden.has(group));
        load();
        redraw();
      };
      return button;
    }));
  }
  find(".hands label").hidden = data.strength === null;
  note.hidden = seen.painter.webgl;
  front.setAttribute("role", "img");
  front.setAttribute("aria-label", data.label);
  stage.dataset.webgl = `${seen.painter.webgl}`;

  const fit = () => {
    for (const canvas of [back, points, front]) {
      canvas.width = Math.max(1, stage.clientWidth * devicePixelRatio);
      canvas.height = Math.max(1, stage.clientHeight * devicePixelRatio);
    }
    draw();
  };
  const events = new AbortController(), until = { signal: events.signal };
  const watch = () => {
    seen.painter.surface?.addEventListener("webglcontextlost", (event) => event.preventDefault(), until);
    seen.painter.surface?.addEventListener("webglcontextrestored", () => { seen.painter = painter(points); watch(); load(); redraw(); }, until);
  };
  watch();
  load();
  fit();
  const sizes = new ResizeObserver(fit);
  sizes.observe(stage);
  seen.end = () => { sizes.disconnect(); events.abort(); cancelAnimationFrame(asked); };
  return seen.end;
}
