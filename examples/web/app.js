/** The page: takes images, asks the model, shows what it says. */
import { Model } from "./model.js";
import { Stage } from "./stage.js";
import { Words } from "./words.js";

const $ = (id) => document.getElementById(id);
const stage = new Stage($("stage"));
const words = new Words($("caption"), stage);
const names = new Intl.DisplayNames([navigator.language, "en"], { type: "language" });

let model = null;
let blob = null; // the image that is shown
let turn = 0; // of captions: an older one must not overwrite a newer
let samples = []; // { name, url, vector }

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function busy(fraction) {
  $("progress").classList.toggle("busy", fraction !== null);
  if (fraction !== null) $("progress").value = fraction;
}

function fill(select, values, label = (value) => value) {
  select.replaceChildren(...values.map((value) => new Option(label(value), value)));
  select.disabled = values.length < 2;
  select.parentElement.hidden = values.length === 0;
}

async function loadModel(entry) {
  turn += 1;
  const mine = turn;
  words.clear();
  say(`Loading ${entry.label}`);
  busy(0);
  await model?.dispose();
  const began = performance.now();
  try {
    model = await Model.load(entry, ({ loaded, total }) => busy(loaded / total));
  } catch (error) {
    busy(null);
    model = null;
    say(error.message, true);
    return;
  }
  if (mine !== turn) return;
  busy(null);
  fill($("language"), model.languages, (code) => names.of(code));
  const wanted = model.languages.find((code) => navigator.language.startsWith(code));
  if (wanted) $("language").value = wanted;
  fill($("prompt"), model.prompts);
  $("search").parentElement.hidden = !model.searches;
  say(`Loaded in ${Math.round(performance.now() - began)} ms`);
  document.body.dataset.ready = entry.name;
  if (blob) await caption();
  else await showSample(samples[0]);
  samples = samples.map(({ name, url }) => ({ name, url })); // vectors are the model's
}

async function caption() {
  if (!model || !blob) return;
  turn += 1;
  const mine = turn;
  words.clear();
  stage.boxes([]);
  delete document.body.dataset.captioned;
  $("caption").setAttribute("aria-busy", "true");
  $("tip").classList.remove("shown");
  say("Looking");
  const options = { prompt: $("prompt").value };
  if (model.languages.length) options.lang = $("language").value;
  try {
    const told = await model.caption(blob, options, ({ text, regions }) => {
      if (mine !== turn) return false;
      say("Writing");
      words.partial(text, regions, options.lang);
      stage.boxes(regions);
      return true;
    });
    if (mine !== turn) return;
    if (told.declined) words.declined(told);
    else words.whole(told, options.lang);
    stage.boxes(told.regions);
    $("tip").classList.toggle("shown", told.words.length > 0);
    timings(told.timings);
    const how = told.declined ? "Declined" : told.complete ? "Done" : "Stopped at the length limit";
    say(`${how}, by ${model.engine}`);
    document.body.dataset.captioned = told.text;
  } catch (error) {
    if (mine === turn) say(error.message, true);
  } finally {
    if (mine === turn) $("caption").removeAttribute("aria-busy");
  }
}

function timings({ preprocess, encode, decode, total, tokens }) {
  const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  const rows = [
    ["prepare", ms(preprocess)], ["encode", ms(encode)], ["per token", ms(decode / (tokens + 1))],
    ["in all", ms(total)],
  ];
  $("timings").replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const told = document.createElement("dd");
      [term.textContent, told.textContent] = [name, value];
      row.append(term, told);
      return row;
    }),
  );
}

async function show(image, name) {
  blob = image;
  try {
    await stage.show(image, name);
  } catch {
    blob = null;
    say(`${name} is not an image that this browser reads`, true);
    return;
  }
  await caption();
}

async function showSample(sample) {
  if (sample) await show(await (await fetch(sample.url)).blob(), `Sample image ${sample.name}`);
}

function takeFiles(files) {
  const image = [...files].find((file) => file.type.startsWith("image/"));
  if (image) show(image, image.name);
  else if (files.length) say(`${files[0].name} is not an image`, true);
}

function listSamples() {
  $("samples").replaceChildren(
    ...samples.map((sample) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const image = Object.assign(new Image(), { src: sample.url, alt: `Sample ${sample.name}`, loading: "lazy", width: 224, height: 224 });
      const score = document.createElement("span");
      score.textContent = sample.rank === undefined ? sample.name : `${sample.rank}. ${sample.name}`;
      button.type = "button";
      button.append(image, score);
      button.addEventListener("click", () => {
        showSample(sample);
        $("stage").scrollIntoView({ block: "nearest" });
      });
      item.append(button);
      return item;
    }),
  );
}

async function search(query) {
  if (!model || !query.trim()) return;
  say(`Searching for ${query}`);
  try {
    for (const sample of samples) {
      sample.vector ??= await model.embedImage(await (await fetch(sample.url)).blob());
    }
    const wanted = await model.embedText(query);
    for (const sample of samples) sample.score = sample.vector.reduce((sum, x, i) => sum + x * wanted[i], 0);
    samples.sort((a, b) => b.score - a.score);
    samples.forEach((sample, n) => { sample.rank = n + 1; });
    listSamples();
    say(`Best match: ${samples[0].name}`);
    document.body.dataset.searched = samples[0].name;
  } catch (error) {
    say(error.message, true);
  }
}

for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", (event) => {
    takeFiles(event.target.files);
    event.target.value = "";
  });
}
addEventListener("paste", (event) => takeFiles(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("stage").classList.add("over");
});
addEventListener("dragleave", () => $("stage").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  takeFiles(event.dataTransfer.files);
});
$("language").addEventListener("change", caption);
$("prompt").addEventListener("change", caption);
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search($("query").value);
});

const { models, images } = await (await fetch("content.json")).json();
samples = images.map((name) => ({ name: name.replace(/\.[a-z]+$/, ""), url: `samples/${name}` }));
listSamples();
$("model").replaceChildren(...models.map(({ name, label }) => new Option(label, name)));
$("model").disabled = models.length < 2;
$("model").addEventListener("change", () => loadModel(models.find(({ name }) => name === $("model").value)));
// Registered after the first load began: the worker fetches every file once more for offline use.
navigator.serviceWorker?.register("sw.js").catch(() => {}); // private windows have none
await loadModel(models[0]);
