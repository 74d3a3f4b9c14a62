// Pictures of an answer: the waveform, the windows over time, and bars.

const SVG = "http://www.w3.org/2000/svg";
// The same emotion has the same colour whatever the model; names that are not here take what is left.
const COLORS = {sad: 0, angry: 1, disgusted: 2, surprised: 3, happy: 4, calm: 5, fearful: 6, neutral: 7, bored: 8};

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

// Name -> number of its colour.
export function palette(names) {
  const free = [...Array(9).keys()].filter((n) => !names.some((name) => COLORS[name] === n));
  const found = {};
  names.forEach((name, i) => {
    found[name] = COLORS[name] ?? (free.length ? free.shift() : i % 9);
  });
  return found;
}

export const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.0995 ? 1 : 0)} %`;
export const clock = (seconds) => (seconds < 60 ? `${Number(seconds.toFixed(2))} s`
  : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`);

// Smallest and largest sample of each column of pixels.
export function waveform(canvas, samples) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-4);
  pen.fillStyle = getComputedStyle(canvas).getPropertyValue("--muted");
  for (let x = 0; x < width; x += 1) {
    const first = Math.floor(x * samples.length / width);
    const last = Math.max(first + 1, Math.floor((x + 1) * samples.length / width));
    let [low, high] = [0, 0];
    for (let i = first; i < last && i < samples.length; i += 1) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = (1 - high / peak) * height / 2;
    pen.fillRect(x, top, 1, Math.max(scale, (high - low) / peak * height / 2));
  }
}

// Where each window's say ends and the next one's begins: half-way between their centres.
function spans(windows, seconds) {
  const centres = windows.map((w) => (w.start + w.end) / 2);
  return windows.map((_, i) => [i ? (centres[i - 1] + centres[i]) / 2 : 0,
    i + 1 < windows.length ? (centres[i] + centres[i + 1]) / 2 : seconds]);
}

// Columns of probabilities, stacked in the order of `names`; one for each window. A list of elements.
export function probabilities(windows, seconds, names, colors) {
  const columns = spans(windows, seconds).map(([start, end], i) => {
    const window = windows[i];
    let top = 0;
    const parts = names.map((name) => {
      const height = 100 * (window.probabilities[name] ?? 0);
      const part = shape("rect", {x: 1000 * start / seconds, width: 1000 * (end - start) / seconds, y: top, height,
        class: `series-${colors[name]}`});
      top += height;
      return part;
    });
    const title = shape("title", {}, `${clock(window.start)} – ${clock(window.end)}: ${window.label} `
      + percent(window.probabilities[window.label]));
    return shape("g", {"data-label": window.label}, title, ...parts);
  });
  const told = windows.map((w) => `${clock(w.start)} to ${clock(w.end)} ${w.label}`);
  return [shape("svg", {viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `Emotions over time: ${told.slice(0, 20).join(", ")}${told.length > 20 ? " and so on" : ""}`},
  ...columns)];
}

// A line for each rated dimension, all on one scale, and the ends of the scale. A list of elements.
export function ratings(windows, seconds, names, colors) {
  const values = windows.flatMap((w) => names.map((name) => w.ratings[name]));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value) => 94 - 88 * (high > low ? (value - low) / (high - low) : 0.5);
  const lines = names.map((name) => {
    const points = windows.map((w) => [500 * (w.start + w.end) / seconds, y(w.ratings[name])]);
    const way = [[0, points[0][1]], ...points, [1000, points[points.length - 1][1]]];
    return shape("path", {d: `M${way.map((point) => point.join(" ")).join("L")}`, class: `series-${colors[name]}`},
      shape("title", {}, name));
  });
  const drawn = shape("svg", {viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `${names.join(", ")} over time, from ${low.toFixed(2)} to ${high.toFixed(2)}`}, ...lines);
  return [drawn, element("span", {className: "bound high"}, high.toFixed(2)),
    element("span", {className: "bound low"}, low.toFixed(2))];
}

// Names, bars and numbers; without `share` numbers alone.
export function bars(values, colors, share) {
  const names = Object.keys(values);
  if (share) names.sort((a, b) => values[b] - values[a]);
  return names.flatMap((name, i) => {
    const first = share && i === 0 ? " first" : "";
    const filled = element("span", {className: `series-${colors[name]}`});
    if (share) filled.style.width = `${100 * values[name]}%`;
    const bar = share ? [element("span", {className: "bar", ariaHidden: "true"}, filled)] : [];
    const number = element("span", {className: `value${first}`}, share ? percent(values[name]) : values[name].toFixed(2));
    number.dataset.name = name;
    number.dataset.value = values[name];
    return [element("span", {className: `name${first}`},
      element("span", {className: `swatch series-${colors[name]}`, ariaHidden: "true"}), name), ...bar, number];
  });
}

// Seconds at round distances, as many as there is room for.
export function axis(place, seconds) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((s) => seconds / s <= 8) || 1200;
  const at = [];
  for (let t = 0; t < seconds - 0.6 * step; t += step) at.push(t);
  place.replaceChildren(...[...at, seconds].map((t) => {
    const mark = element("span", {}, clock(t));
    mark.style.left = `${100 * t / seconds}%`;
    return mark;
  }));
}

export function table(windows, names) {
  const cells = (tag, values) => element("tr", {}, ...values.map((value, i) => element(tag, i ? {className: "number"} : {}, value)));
  const kind = windows[0].probabilities ? "probabilities" : "ratings";
  const head = cells("th", ["Window", ...names]);
  head.querySelectorAll("th").forEach((cell) => { cell.scope = "col"; });
  return [element("thead", {}, head), element("tbody", {}, ...windows.map((w) => cells("td", [
    `${clock(w.start)} – ${clock(w.end)}`,
    ...names.map((name) => (kind === "ratings" ? w.ratings[name].toFixed(2) : percent(w.probabilities[name] ?? 0)))])))];
}
