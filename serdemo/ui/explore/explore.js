/* The tab Explore's course: open a map, choose what is shown, point, encircle, place a newcomer. */
const POLL_MS = 1000;
const scatter = new Scatter(part("points"), part("over"));
const table = new ClipTable();
const root = element.querySelector(".sd-map");
let clips = null;
let layout = null;
let colour = "emotion";
let chosen = -1;
let selected = null;
let newcomer = null;
let followed = false; // what Live hears, on this map
let fault = "";

const note = () => {
  const sentences = fault ? [fault] : clips ? [...clips.notes] : [];
  if (!fault && clips && clips.missing.includes("umap2")) {
    sentences.push("PCA is shown while UMAP is computed; the map can be used meanwhile.");
  }
  put(part("note"), sentences.join(" "));
  part("note").classList.toggle("sd-live-fault", Boolean(fault));
};

const redraw = () => {
  const crowd = selected || null;
  scatter.show(clips.shown, crowd);
  const shown = clips.rows();
  const rows = selected ? shown.filter((row) => selected[row]) : shown;
  put(part("count"), `${count(shown.length)} of ${plural(clips.n, "clip")} shown`);
  part("all").hidden = !clips.filtered;
  showLegend(clips, colour);
  table.show(clips, rows, chosen);
};

const recolour = () => {
  scatter.shown = clips.shown; // few are drawn larger
  scatter.style(clips.looks(colour), clips.kinds[colour].codes);
  redraw();
};

const refilter = () => {
  clips.filter();
  redraw();
};

const arrange = (name, asked = false) => {
  const found = clips.layout(name);
  if (!found) return;
  layout = { ...found, name: name.startsWith("pca") ? "pca" : name, chosen: name, asked };
  part("layout").value = name;
  put(element.querySelector("[data-act=move]"), found.axes === 3 ? "Turn" : "Move");
  scatter.points(found.places, found.axes, clips.speaker < 0 ? null : clips.rows());
  recolour();
};

const offerLayouts = () => {
  for (const option of part("layout").options) {
    option.disabled = !clips.layout(option.value) || (option.value === "own" && clips.speaker < 0);
    option.textContent = option.textContent.replace(" (soon)", "")
      + (option.disabled && clips.missing.includes(option.value) ? " (soon)" : "");
  }
};

const offerColours = () => {
  part("colour").innerHTML = Object.keys(TITLES).filter((kind) => clips.has(kind))
    .map((kind) => `<option value="${kind}">${TITLES[kind]}</option>`).join("");
  if (!clips.has(colour)) colour = part("colour").value;
  part("colour").value = colour;
};

// How well a speaker's clusters are its emotions, so that a speaker worth a look is soon found.
const worth = (name) => {
  const known = clips.figures.speakers || {};
  const found = Object.hasOwn(known, name) ? known[name].found.nmi : null;
  return typeof found === "number" ? `, NMI ${figure(found)}` : "";
};

const offerSpeakers = () => {
  const groups = new Map();
  clips.counts("speaker").forEach(({ name, code, whole }) => {
    const corpus = name.slice(0, name.indexOf("/"));
    if (!groups.has(corpus)) groups.set(corpus, []);
    groups.get(corpus).push({ name: name.slice(corpus.length + 1) || "unknown", code,
      told: `${plural(whole, "clip")}${worth(name)}` });
  });
  part("speaker").innerHTML = `<option value="-1">All ${count(clips.kinds.speaker.names.length)}
    speakers</option>${[...groups.entries()].sort().map(([corpus, found]) =>
    `<optgroup label="${clean(corpus || "speakers")}">${found
      .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))
      .map(({ name, code, told }) => `<option value="${code}">${clean(name)} (${told})</option>`).join("")}
    </optgroup>`).join("")}`;
  part("speaker").value = String(clips.speaker);
};

const chooseSpeaker = (code) => {
  clips.speaker = code;
  part("speaker").value = String(code);
  clips.filter();
  offerLayouts();
  const own = code >= 0 && clips.places.own;
  arrange(own ? "own" : layout.chosen === "own" ? "umap2" : layout.chosen);
  showMetrics(clips);
};

// Where one speaker is looked at: round each of its clusters a line, for the eye to compare.
const circleClusters = (pen) => {
  if (clips.speaker < 0 || !clips.kinds.cluster || colour === "cluster") return;
  const groups = new Map();
  for (const row of clips.rows()) {
    const name = clips.name("cluster", row);
    groups.set(name, [...(groups.get(name) || []), scatter.screen(scatter.placeOf(row))]);
  }
  for (const [name, points] of groups) drawCluster(pen, points, name);
};

const select = async (rows) => {
  selected = null;
  if (rows.length) {
    selected = new Uint8Array(clips.n);
    for (const row of rows) selected[row] = 1;
  }
  redraw();
  if (!rows.length) return showSelection(null, clips);
  const own = selected;
  const answer = await ask("select", { map: clips.key, rows });
  if (own !== selected) return undefined;
  fault = answer.refused || "";
  note();
  return showSelection(answer.refused ? null : answer, clips);
};

const choose = (row) => {
  chosen = row;
  scatter.draw();
  table.reach(row);
  if (row >= 0) return playClip(clips, row);
  hush();
  return showClip(clips, -1, "");
};

const ring = (pen, row, size, width) => {
  const [x, y] = scatter.screen(scatter.placeOf(row));
  pen.beginPath();
  pen.arc(x, y, size, 0, 7);
  pen.lineWidth = width;
  pen.strokeStyle = getComputedStyle(element).getPropertyValue("--body-text-color") || "#000";
  pen.stroke();
};

scatter.marks = (pen) => {
  if (!clips) return;
  circleClusters(pen);
  if (chosen >= 0 && clips.shown[chosen]) ring(pen, chosen, 9, 2.5);
  if (newcomer) newcomer.draw(pen, scatter, layout);
  if (hand.line.length < 2) return;
  pen.beginPath();
  hand.line.forEach(([x, y]) => pen.lineTo(x, y));
  pen.closePath();
  pen.fillStyle = "rgba(91, 124, 192, 0.16)";
  pen.strokeStyle = "#5b7cc0";
  pen.lineWidth = 1.5;
  pen.fill();
  pen.stroke();
};

const hand = new Hand(scatter, part("field"), {
  hover: (row, x, y) => clips && showTip(clips, row, x, y),
  click: choose,
  lasso: select,
});

const draws = (drawing) => {
  hand.drawing = drawing;
  part("field").classList.toggle("sd-map-drawing", drawing);
  for (const act of ["move", "lasso"]) {
    element.querySelector(`[data-act=${act}]`).setAttribute("aria-pressed", String((act === "lasso") === drawing));
  }
};

const showSpeak = () => {
  if (!newcomer) return;
  put(part("speak"), newcomer.live ? "Stop" : "Speak");
  part("speak").classList.toggle("sd-on", newcomer.live);
  scatter.draw();
};

// What is still to be made arrives part by part.
const follow = async (own) => {
  while (clips === own && own.missing.length && root.isConnected) {
    await later(POLL_MS);
    const wanted = own.missing;
    const answer = await askOn("progress", { map: own.key, wanted });
    if (clips !== own) return;
    if (answer.refused) {
      own.missing = [];
      fault = answer.refused;
      offerLayouts();
      showMetrics(own);
      return note();
    }
    const had = own.missing.length;
    own.take(answer);
    if (own.missing.length === had) continue;
    offerLayouts();
    offerColours();
    offerSpeakers();
    const first = layout.chosen === "pca2" && !layout.asked; // else a visitor chose meanwhile
    if (first && wanted.includes("umap2") && own.places.umap2) arrange("umap2");
    showMetrics(own);
    note();
  }
};

const open = (told) => {
  if (newcomer) newcomer.leave();
  hush();
  followed = false;
  fault = "";
  clips = new Clips(told);
  chosen = -1;
  selected = null;
  root.dataset.state = "open";
  part("wait").hidden = true;
  part("search").value = "";
  part("back").hidden = clips.key === "shipped";
  put(part("from"), `${plural(clips.n, "clip")} of ${plural(clips.kinds.speaker.names.length, "speaker")}${
    clips.model ? `, as the model ${clips.model} hears them` : ""}.`);
  put(part("warning"), clips.warning);
  newcomer = new Newcomer(clips, showSpeak);
  newcomer.list();
  newcomer.say(PROMPT);
  offerLayouts();
  offerColours();
  offerSpeakers();
  arrange(clips.places.umap2 ? "umap2" : "pca2");
  showSelection(null, clips);
  showMetrics(clips);
  showClip(clips, -1, "");
  showSpeak();
  note();
  follow(clips);
};

const openShipped = async () => {
  if (!clips) put(part("wait"), "Opening the map");
  const answer = await askOn("open");
  if (!answer.refused) return open(answer);
  if (clips) {
    fault = answer.refused;
    return note();
  }
  root.dataset.state = "refused";
  part("wait").innerHTML = `<span>${clean(answer.refused)}<br>
    <button type="button" class="sd-button" data-act="shipped">Try again</button></span>`;
  return undefined;
};
