// The page follows events.json. Every text goes in as text: labels and reasons may hold anything.
"use strict";

const EACH_MS = 1000;
const PATIENCE_MS = 5000;
const byId = (id) => document.getElementById(id);

function make(tag, kind, ...inside) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...inside);
  return made;
}

function drawn(tag, attributes, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.9995 ? 1 : 0)} %`;
const milliseconds = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`);
const words = (text) => text.replaceAll("_", " ");
const clock = (time) => new Date(time).toLocaleTimeString([], { hourCycle: "h23" });

function span(seconds) {
  if (seconds < 10 && seconds % 1) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function bytes(count) {
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function bar(share, kind) {
  const inner = make("i");
  inner.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
  return make("span", `bar ${kind}`, inner);
}

function thumbnail(one) {
  const image = make("img");
  image.src = `thumb/${encodeURIComponent(one.id)}.jpg`;
  image.alt = one.label;
  image.width = 192;
  image.height = 144;
  return image;
}

function verdict(one) {
  return make("span", `verdict ${one.decision}`, one.reason ? `${one.decision}: ${one.reason}` : one.decision);
}

// What did not change stays: a picture that is made anew would flicker, and a selection be lost.
const shown = new Map();
function show(id, data, render) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  byId(id).replaceChildren(...render(data));
}

function newest(one) {
  if (!one) return [make("p", "note", "Nothing was thrown in yet.")];
  const about = make("div", "", make("b", "", one.label), verdict(one),
    make("div", "note", `${clock(one.time)}, on ${one.frames} ${one.frames === 1 ? "frame" : "frames"}${one.file ? `, ${one.file}` : ""}`));
  const bars = make("dl", "bars");
  one.probabilities.forEach(([label, share]) => {
    const kind = label === one.label ? `top ${one.decision}` : "";
    bars.append(make("dt", "", label), make("dd", "", bar(share, kind)), make("dd", "", percent(share)));
  });
  return [make("div", "now", thumbnail(one), about), bars];
}

function decision(one) {
  return make("li", "", thumbnail(one), make("div", "", make("b", "", one.label),
    bar(one.confidence, `top ${one.decision}`), make("small", "", `${percent(one.confidence)}, ${clock(one.time)}`), verdict(one)));
}

function number(name, value, unit) {
  return make("div", "", make("dt", "", name), make("dd", "", value, unit ? make("small", "", ` ${unit}`) : ""));
}

function facts(rows) {
  return rows.flatMap(([name, value, kind]) => [make("dt", "", name), make("dd", kind || "", value)]);
}

function spark(values) {
  if (values.length < 2) return [make("p", "note", "Nothing was classified yet.")];
  const most = Math.max(...values) * 1.1 || 1;
  const path = values.map((value, at) =>
    `${at ? "L" : "M"}${((100 * at) / (values.length - 1)).toFixed(2)} ${(40 - (38 * value) / most).toFixed(2)}`).join("");
  const picture = drawn("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img" }, drawn("path", { d: path }));
  picture.setAttribute("aria-label", `the newest ${values.length}, at most ${milliseconds(Math.max(...values))}`);
  return [picture, make("p", "note", `Newest ${values.length}: ${milliseconds(Math.min(...values))} to ${milliseconds(Math.max(...values))}`)];
}

function alarms(state) {
  const found = state.still.map((one) => `Stands still (${one.part}): ${one.why}, for ${span(one.seconds)}`);
  if (state.gap && !state.still.length) found.push(`No frame for now: ${state.gap}`);
  if (state.camera.state && state.camera.state !== "ok") found.push(`The camera finds itself ${state.camera.states.map(words).join(", ")}`);
  for (const [against, text] of [["itself", "Drift: not as before"], ["bundle", "Unlike the bundle's photos"]]) {
    const names = state.drift.indices.filter((one) => one.drifted && one.against === against);
    if (names.length) found.push(`${text}: ${names.map((one) => one.of).join(", ")}`);
  }
  if (state.unwritten) found.push(`The disk takes no events: ${state.unwritten} wait in memory`);
  if (state.refused) found.push(`A new bundle was refused: ${state.refused}`);
  if (state.served && state.served.verdict === "FAIL") found.push("The parity of this bundle failed");
  if (state.throttled.length) found.push(`The board is slowed down: ${state.throttled.join(", ")}`);
  return found;
}

function cameraRows(state) {
  const rows = [];
  if (state.camera.state) {
    const fine = state.camera.state === "ok";
    const since = state.camera.since ? `, since ${clock(state.camera.since)}` : "";
    rows.push(["State", (fine ? "sees well" : state.camera.states.map(words).join(", ")) + since, fine ? "" : "bad"]);
  }
  rows.push(["Deposit", state.episode || "none yet"], ["Frames", state.frames.toLocaleString()]);
  for (const [cause, count] of Object.entries(state.drops)) rows.push([`Frames ${words(cause)}`, count.toLocaleString()]);
  rows.push(["Opened again", state.reopened.toLocaleString()]);
  if (state.hottest !== null) rows.push(["Hottest part", `${state.hottest.toFixed(0)} °C`]);
  return rows;
}

function driftRows(drift) {
  const cell = (of, against) => {
    const one = drift.indices.find((other) => other.of === of && other.against === against);
    return make("td", one && one.drifted ? "bad" : "", one ? one.index.toFixed(2) : "–");
  };
  return [...new Set(drift.indices.map((one) => one.of))].map((of) =>
    make("tr", "", make("td", "", of), cell(of, "itself"), cell(of, "bundle")));
}

function driftNote(drift) {
  const photos = drift.photos ? `${drift.photos.toLocaleString()} photos of the bundle` : "no photos: the bundle is too old for that";
  return [`The newest ${drift.window} deposits against ${drift.own.toLocaleString()} before them, and against ${photos}.`];
}

function eventRows(state) {
  const rows = [];
  for (const [name, there] of Object.entries(state.sinks)) rows.push([name, there ? "connected" : "away", there ? "" : "bad"]);
  const box = state.outbox;
  if (box) {
    rows.push(["Waiting", box.depth ? `${box.depth}, ${bytes(box.bytes)}, the oldest for ${span(state.outbox_age_s)}` : "none"]);
    rows.push(["Let go", box.dropped.toLocaleString(), box.dropped ? "bad" : ""], ["Refused", box.refused.toLocaleString(), box.refused ? "bad" : ""]);
  } else {
    rows.push(["Outbox", "none"]);
  }
  rows.push(["Accepted", state.accepted.toLocaleString()]);
  for (const [reason, count] of Object.entries(state.reasons)) rows.push([`Rejected, ${reason}`, count.toLocaleString()]);
  return rows;
}

function bundleRows(served, swaps) {
  if (!served) return [["Name", "none loaded yet"]];
  return [
    ["Name", served.name], ["Version", served.version.slice(0, 12)], ["Graph", `${served.precision} on ${served.provider}`],
    ["Parity", `${served.verdict} on ${served.judged_on}`, served.verdict === "PASS" ? "" : "bad"],
    ["Agreement", `${percent(served.agreement)} of ${served.images} photos`], ["Accuracy", percent(served.accuracy)],
    ["Taken over", swaps ? `${swaps} times since the start` : "not since the start"],
  ];
}

function sight(live) {
  byId("newest").classList.toggle("plain", !live);
  if (!live) return [];
  const image = make("img");
  image.src = "live.mjpg";
  image.alt = "What the camera sees";
  return [image, make("p", "", "What the camera sees, about five pictures a second")];
}

function standing(text, kind) {
  const line = byId("standing");
  if (line.textContent !== text) line.textContent = text;
  line.className = kind;
}

function numbers(state) {
  const total = state.steps.find((one) => one.name === "total");
  const rejected = Object.values(state.reasons).reduce((sum, count) => sum + count, 0);
  const all = state.accepted + rejected;
  return [
    number("Decisions", all.toLocaleString()), number("Rejected", all ? percent(rejected / all) : "–"),
    number("Frames", state.fps.toFixed(1), "a second"), number("Newest frame", state.age_s === null ? "none" : state.age_s < 10 ? `${state.age_s.toFixed(1)} s` : span(state.age_s), state.age_s === null ? "" : "old"),
    number("Answer", total ? milliseconds(total.p50_ms) : "–", total ? "median" : ""),
  ];
}

const STANDINGS = { starting: "Starting", waiting: "Waiting for the camera", working: "Working", still: "Standing still" };

function render(state) {
  document.title = `Bin ${state.bin_id}`;
  byId("bin").textContent = state.bin_id;
  standing(`${STANDINGS[state.standing]}, up for ${span(state.uptime_s)}`, state.standing);
  const found = alarms(state);
  byId("alarms").hidden = !found.length;
  show("alarms", found, (texts) => texts.map((text) => make("li", "", text)));
  show("sight", state.live, sight);
  show("answer", state.decisions[0] || null, newest);
  byId("numbers").replaceChildren(...numbers(state));
  show("decisions", state.decisions.slice(1), (all) => all.map(decision));
  byId("history").hidden = state.decisions.length < 2;
  show("camera", cameraRows(state), facts);
  show("spark", state.sparks_ms, spark);
  show("steps", state.steps, (steps) => steps.map((one) => make("tr", "", make("td", "", one.name),
    make("td", "", milliseconds(one.p50_ms)), make("td", "", milliseconds(one.p99_ms)))));
  show("drift-note", state.drift, driftNote);
  show("drift", state.drift, driftRows);
  byId("drift").parentElement.hidden = !state.drift.indices.length;
  show("events", eventRows(state), facts);
  show("bundle", [state.served, state.swaps], ([served, swaps]) => facts(bundleRows(served, swaps)));
  document.querySelector("main").hidden = false;
}

let answered = null;

async function follow() {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const answer = await fetch("events.json", { signal: patience.signal, cache: "no-store" });
    if (answer.status === 401) {
      standing("The token does not hold any more: open the page with ?token= again", "gone");
    } else if (answer.ok) {
      render(await answer.json());
      answered = new Date();
    } else {
      standing(`The bin answers ${answer.status}; asking again`, "gone");
    }
  } catch {
    standing(answered ? `No answer from the bin since ${clock(answered)}` : "No answer from the bin", "gone");
  } finally {
    clearTimeout(timer);
    setTimeout(document.hidden ? whenSeen : follow, EACH_MS);
  }
}

function whenSeen() {
  if (!document.hidden) return void follow();
  document.addEventListener("visibilitychange", follow, { once: true });
}

follow();
