// What happens when: recordings come in, go to the server, and its answers are shown.
import * as draw from "./drawing.js";
import {start} from "./recorder.js";
import {decode, wav} from "./sound.js";

const at = (id) => document.getElementById(id);
let about = null; // what the server says of itself
let recording = null;
let asked = new AbortController();
let last = null; // the blob and the name that were sent last
let shown = null; // samples of the waveform

function complain(words) {
  at("status").textContent = "";
  at("error").textContent = words;
  at("error").hidden = !words;
}

async function send(blob, name, signal) {
  const form = new FormData();
  form.append("file", blob, name);
  const options = at("window").value ? `?window=${at("window").value}` : "";
  const response = await fetch(`predict${options}`, {method: "POST", body: form, signal});
  return {status: response.status, answer: await response.json()};
}

async function analyse(blob, name) {
  asked.abort();
  asked = new AbortController();
  const {signal} = asked;
  last = [blob, name];
  complain("");
  if (about && blob.size > about.limits.max_mb * 2 ** 20) {
    complain(`${name} is larger than ${about.limits.max_mb} MB. Send a part of it.`);
    return;
  }
  at("status").textContent = `Listening to ${name} …`;
  try {
    const [samples, first] = await Promise.all([decode(blob), send(blob, name, signal)]);
    let {status, answer} = first;
    if (status === 415 && samples) ({status, answer} = await send(wav(samples), name, signal)); // as this browser reads it
    if (signal.aborted) return;
    if (status !== 200) {
      at("result").hidden = true;
      complain(answer.error);
      return;
    }
    show(answer, samples, blob, name);
  } catch (error) {
    if (signal.aborted) return;
    complain("The server does not answer. Is it still running?");
  }
}

function show(answer, samples, blob, name) {
  at("result").hidden = false;
  at("status").textContent = "";
  const values = answer.probabilities || answer.ratings;
  const names = Object.keys(values).sort((a, b) => about.labels.indexOf(a) - about.labels.indexOf(b));
  const colors = draw.palette(about.labels);
  at("verdict").textContent = answer.label ? `${answer.label}, ${draw.percent(values[answer.label])}`
    : names.map((n) => `${n} ${values[n].toFixed(2)}`).join(", ");
  const count = answer.windows.length;
  at("source").textContent = `${name}: ${draw.clock(answer.seconds)}, ${count} ${count === 1 ? "window" : "windows"}`;
  at("overall").replaceChildren(...draw.bars(values, colors, Boolean(answer.probabilities)));
  at("overall").classList.toggle("plain", !answer.probabilities);
  at("timeline").replaceChildren(...(answer.probabilities ? draw.probabilities : draw.ratings)(
    answer.windows, answer.seconds, names, colors));
  draw.axis(at("axis"), answer.seconds);
  at("table").replaceChildren(...draw.table(answer.windows, names));
  at("json").textContent = JSON.stringify(answer, null, 2);
  shown = samples;
  at("waveform").hidden = at("player").hidden = !samples;
  at("undrawn").hidden = Boolean(samples);
  URL.revokeObjectURL(at("player").src);
  if (samples) {
    draw.waveform(at("waveform"), samples);
    at("player").src = URL.createObjectURL(blob);
  } else {
    at("player").removeAttribute("src");
  }
  at("cursor").hidden = true;
  at("verdict").focus({preventScroll: true});
}

async function toggle() {
  const button = at("record");
  button.disabled = true;
  try {
    if (recording) {
      const done = recording;
      recording = null;
      analyse(await done.stop(), "recording.wav");
    } else {
      complain("");
      recording = await start((level, seconds) => {
        at("level").firstElementChild.style.transform = `scaleX(${level})`;
        at("record-words").textContent = `Stop (${seconds.toFixed(0)} s)`;
        if (recording && about && seconds > about.limits.max_seconds - 1) toggle();
      });
    }
  } catch (error) {
    recording = null;
    complain(error.message);
  }
  button.disabled = false;
  button.setAttribute("aria-pressed", String(Boolean(recording)));
  at("level").hidden = !recording;
  if (!recording) at("record-words").textContent = "Record";
}

function follow() {
  const player = at("player");
  at("cursor").hidden = !(player.duration > 0);
  at("cursor").style.left = `${100 * player.currentTime / player.duration}%`;
  if (!player.paused) requestAnimationFrame(follow);
}

async function introduce() {
  at("curl").textContent = `curl -F file=@recording.wav '${window.location.origin}/predict?window=2&overlap=0.5'`;
  try {
    about = await (await fetch("model")).json();
  } catch {
    complain("The server does not answer. Is it still running?");
    return;
  }
  const tells = about.kind === "classes" ? `tells ${about.labels.join(", ")}` : `rates ${about.labels.join(", ")}`;
  at("about").textContent = `${about.method.toUpperCase()}, trained on ${about.corpus}; it ${tells}. `
    + (about.calibration ? `Probabilities: ${about.calibration}.` : "");
  at("notes").replaceChildren(...about.notes.map((note) => draw.element("li", {}, note)));
  at("notes").hidden = !about.notes.length;
  at("window").options[0].textContent = `${Number(about.seconds.toFixed(2))} s, as in training`;
}

at("record").addEventListener("click", toggle);
at("choose").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", ({target}) => {
  if (target.files.length) analyse(target.files[0], target.files[0].name);
  target.value = "";
});
at("window").addEventListener("change", () => { if (last) analyse(...last); });
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // also beside the box: the browser would leave the page for the file
    at("drop").classList.toggle("over", kind.startsWith("drago") || kind === "dragenter");
    if (kind === "drop" && event.dataTransfer.files.length) {
      analyse(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
    }
  });
}
at("player").addEventListener("play", follow);
at("player").addEventListener("seeked", follow);
document.querySelector(".track").addEventListener("click", (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  if (at("player").duration) at("player").currentTime = at("player").duration * (event.clientX - box.left) / box.width;
});
const redraw = () => { if (shown && !at("result").hidden) draw.waveform(at("waveform"), shown); };
new ResizeObserver(redraw).observe(at("waveform"));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
introduce();
