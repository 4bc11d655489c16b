/* The tab Explore: open a map, choose what is shown, point, encircle, place a newcomer. */
import { count, escapeHtml, partFinder, plural, put, wait } from "../shell/js/dom.js";
import { inBrowser, pageModels } from "../shell/js/in_browser.js";
import { caller, persistent } from "../shell/js/rpc.js";
import { translate } from "../shell/js/translate.js";
import { Clips, TITLES } from "./clips.js";
import { drawCluster } from "./clusters.js";
import { listen } from "./events.js";
import { Gestures } from "./gestures.js";
import { LiveSound, Newcomer } from "./newcomer.js";
import { makeStyleOf } from "./palette.js";
import { BrowserPlacer, EXAMPLE, ServerPlacer } from "./placers.js";
import { ClipPlayer, showTip } from "./player.js";
import { Scatter } from "./scatter.js";
import { nmiLabel, showLegend, showMetrics, showSelection } from "./side.js";
import { MapSources } from "./sources.js";
import { ClipTable } from "./table.js";

const POLL_MS = 1000;
const MAX_SPEAKERS = 2000; // in the list, the commonest; others are searched for
const BY_NUMBER = new Intl.Collator("en", { numeric: true });

class MapTab {
  /* A page without a server gives BrowserModels as `models`, and the address of the example voice. */
  constructor({ element, server, upload, models, exampleUrl, ...palette }) {
    const part = partFinder(element);
    Object.assign(this, { element, part, styleOf: makeStyleOf(palette) });
    this.root = element.querySelector(".sd-map");
    this.root.toggleAttribute("data-serverless", Boolean(models));
    this.ask = caller(models ? models.explore : server.explore);
    this.askPersistently = persistent(this.ask);
    this.scatter = new Scatter(part("points"), part("over"));
    this.scatter.marks = (pen) => this.drawMarks(pen);
    this.table = new ClipTable(part);
    this.player = new ClipPlayer(part, this.ask);
    this.sources = new MapSources(part, this.ask, upload);
    this.server = models ? null : new ServerPlacer(this.ask, upload);
    this.browser = new BrowserPlacer(models ? async () => models : pageModels, exampleUrl);
    this.gestures = new Gestures(this.scatter, part("field"), {
      hover: (row, x, y) => this.clips && showTip(part, this.clips, row, x, y),
      click: (row) => this.choose(row),
      lasso: (mask) => this.select(mask.includes(1) ? mask : null),
    });
    // All controls wait for a map, but those that open one.
    this.waiting = [...this.root.querySelectorAll("button, input, select")]
      .filter((control) => !control.disabled && !control.closest("[data-part=own-box]"));
    for (const control of this.waiting) control.disabled = true;
    this.clips = null;
    this.layout = null;
    this.colour = "emotion";
    this.chosen = -1;
    this.selected = null; // a mask of the rows
    this.newcomer = null;
    this.followsLive = false; // the voice of the tab Live, on this map
    this.fault = "";
  }

  /* Who places a voice that comes now. */
  get placer() {
    return this.server && !inBrowser.wanted ? this.server : this.browser;
  }

  get ink() {
    return getComputedStyle(this.element).getPropertyValue("--body-text-color") || "#000";
  }

  button(act) {
    return this.element.querySelector(`[data-act="${act}"]`);
  }

  showFault(sentence) {
    this.fault = sentence;
    this.showNote();
  }

  showNote() {
    const sentences = this.fault ? [this.fault] : this.clips ? [...this.clips.notes] : [];
    if (!this.fault && this.clips?.isComputing && this.clips.missing.includes("umap2")) {
      sentences.push("PCA is shown while UMAP is computed; the map can be used meanwhile.");
    }
    put(this.part("note"), sentences.join(" "));
    this.part("note").classList.toggle("sd-live-fault", Boolean(this.fault));
    this.part("compute").hidden = !this.clips?.missing.length || this.clips.isComputing;
  }

  /* Colour and marker of each name of the kind that the points are coloured by. */
  get styles() {
    const { names } = this.clips.kinds[this.colour];
    return names.map((name, code) => this.styleOf(this.colour, name, code));
  }

  redraw() {
    const { clips, selected } = this;
    this.scatter.show(clips.shown, selected);
    const shown = clips.rows();
    const rows = selected ? shown.filter((row) => selected[row]) : shown;
    put(this.part("count"), `${count(shown.length)} of ${plural(clips.n, "clip")} shown`);
    this.part("all").hidden = !clips.isFiltered;
    showLegend(this.part, clips, this.colour, this.styles);
    this.table.show(clips, rows, this.chosen);
  }

  recolour() {
    this.scatter.shown = this.clips.shown; // few are drawn larger
    this.scatter.style(this.styles, this.clips.kinds[this.colour].codes);
    this.redraw();
  }

  refilter() {
    this.clips.applyFilters();
    this.redraw();
  }

  /* Draws a layout, if it is there, fetched where it is not yet; `byVisitor` tells who chose it. */
  async arrange(name, byVisitor = false) {
    const { clips } = this;
    if (!clips.offers(name)) return;
    this.part("layout").value = name;
    if (clips.lacks(name)) {
      const answer = await this.askPersistently("progress", { map: clips.key, wanted: [clips.lacks(name)] });
      if (this.clips !== clips) return;
      if (this.part("layout").value !== name) return; // another was chosen meanwhile
      if (answer.refused) {
        this.part("layout").value = this.layout.chosen;
        return this.showFault(answer.refused);
      }
      clips.addParts(answer);
    }
    const layout = clips.layout(name);
    if (!layout) return;
    this.layout = { ...layout, name: name.startsWith("pca") ? "pca" : name, chosen: name, byVisitor };
    put(this.button("move"), layout.axes === 3 ? "Turn" : "Move");
    this.scatter.points(layout.places, layout.axes, clips.speaker < 0 ? null : clips.rows());
    this.recolour();
  }

  offerLayouts() {
    const { clips } = this;
    for (const option of this.part("layout").options) {
      option.disabled = !clips.offers(option.value) || (option.value === "own" && clips.speaker < 0);
      const title = (option.dataset.title ||= option.textContent); // in the page's language
      put(option, option.disabled && clips.isComputing && clips.missing.includes(option.value) ? `${title} ${translate("(soon)")}` : title);
    }
  }

  offerColours() {
    const select = this.part("colour");
    select.innerHTML = Object.keys(TITLES).filter((kind) => this.clips.has(kind))
      .map((kind) => `<option value="${kind}">${TITLES[kind]}</option>`).join("");
    if (!this.clips.has(this.colour)) this.colour = select.value;
    select.value = this.colour;
  }

  offerSpeakers() {
    const { clips } = this;
    const groups = new Map();
    clips.counts("speaker").slice(0, MAX_SPEAKERS).forEach(({ name, code, whole }) => {
      const corpus = name.slice(0, name.indexOf("/"));
      if (!groups.has(corpus)) groups.set(corpus, []);
      groups.get(corpus).push({ name: name.slice(corpus.length + 1) || "unknown", code,
        facts: `${plural(whole, "clip")}${nmiLabel(clips, name)}` });
    });
    const option = ({ name, code, facts }) =>
      `<option value="${code}">${escapeHtml(name)} (${facts})</option>`;
    const group = ([corpus, speakers]) => `<optgroup label="${escapeHtml(corpus || "speakers")}">${speakers
      .sort((a, b) => BY_NUMBER.compare(a.name, b.name)).map(option).join("")}</optgroup>`;
    this.part("speaker").innerHTML = `<option value="-1">All ${count(clips.kinds.speaker.names.length)}
      speakers</option>${[...groups.entries()].sort().map(group).join("")}`;
    this.part("speaker").value = String(clips.speaker);
  }

  chooseSpeaker(code) {
    const { clips } = this;
    clips.speaker = code;
    this.part("speaker").value = String(code);
    clips.applyFilters();
    this.offerLayouts();
    const ownLayout = code >= 0 && clips.offers("own");
    const { chosen } = this.layout;
    this.arrange(ownLayout ? "own" : chosen === "own" ? "umap2" : chosen);
    showMetrics(this.part, clips);
  }

  /* A newcomer has no place where one speaker lies alone. */
  leaveOwnLayout() {
    if (this.layout.chosen === "own") this.chooseSpeaker(-1);
  }

  /* Selects the rows of a mask; null for none. */
  select(mask) {
    this.selected = mask;
    this.redraw();
    showSelection(this.part, this.clips, mask && this.clips.selection(mask));
  }

  choose(row) {
    this.chosen = row;
    this.scatter.draw();
    this.table.choose(row);
    if (row >= 0) return this.player.load(this.clips, row);
    this.player.stop();
    return this.player.show(this.clips, -1, "");
  }

  /* Draws over the points: outlines, the chosen clip, the newcomer, the lasso. */
  drawMarks(pen) {
    const { clips, scatter, chosen, gestures } = this;
    if (!clips) return;
    this.outlineClusters(pen);
    if (chosen >= 0 && clips.shown[chosen]) {
      pen.beginPath();
      pen.arc(...scatter.screen(scatter.placeOf(chosen)), 9, 0, 7);
      pen.lineWidth = 2.5;
      pen.strokeStyle = this.ink;
      pen.stroke();
    }
    if (this.newcomer) this.newcomer.draw(pen, scatter, this.layout, this.ink);
    if (gestures.line.length < 2) return;
    pen.beginPath();
    gestures.line.forEach(([x, y]) => pen.lineTo(x, y));
    pen.closePath();
    pen.fillStyle = "rgba(91, 124, 192, 0.16)";
    pen.strokeStyle = "#5b7cc0";
    pen.lineWidth = 1.5;
    pen.fill();
    pen.stroke();
  }

  outlineClusters(pen) {
    const { clips, scatter } = this;
    if (clips.speaker < 0 || !clips.kinds.cluster || this.colour === "cluster") return;
    const groups = new Map();
    for (const row of clips.rows()) {
      const name = clips.name("cluster", row);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(scatter.screen(scatter.placeOf(row)));
    }
    const width = this.part("field").clientWidth;
    for (const [name, points] of groups) drawCluster(pen, points, name, this.ink, width);
  }

  /* Whether dragging draws a lasso, or moves the map. */
  setLasso(drawing) {
    this.gestures.drawing = drawing;
    this.part("field").classList.toggle("sd-map-drawing", drawing);
    this.button("move").setAttribute("aria-pressed", String(!drawing));
    this.button("lasso").setAttribute("aria-pressed", String(drawing));
  }

  showNewcomer() {
    if (!this.newcomer) return;
    put(this.part("speak"), this.newcomer.isLive ? "Stop" : "Speak");
    this.part("speak").classList.toggle("sd-on", this.newcomer.isLive);
    this.scatter.draw();
  }

  /* Fetches, one by one, the parts of the map that the server still computes; `start` has it begin with
     those that it computes on request alone. */
  async fetchMissing(clips, start = false) {
    clips.isComputing = true;
    this.showComputing();
    while (this.clips === clips && clips.missing.length && this.root.isConnected) {
      await wait(POLL_MS);
      const wanted = clips.missing;
      const answer = await this.askPersistently("progress", { map: clips.key, wanted, start });
      if (this.clips !== clips) return;
      if (answer.refused) {
        clips.missing = [];
        this.showComputing();
        return this.showFault(answer.refused);
      }
      clips.addParts(answer);
      if (clips.missing.length === wanted.length) continue;
      this.offerColours();
      this.offerSpeakers();
      const first = this.layout.chosen === "pca2" && !this.layout.byVisitor;
      if (first && wanted.includes("umap2") && clips.places.umap2) this.arrange("umap2");
      this.showComputing();
    }
  }

  /* Which parts of the map are there, and which are computed. */
  showComputing() {
    this.offerLayouts();
    showMetrics(this.part, this.clips);
    this.showNote();
  }

  /* Shows a map that the server sent. */
  open(payload) {
    const { part } = this;
    if (this.newcomer) this.newcomer.leave();
    this.player.stop();
    const clips = new Clips(payload);
    Object.assign(this, { clips, chosen: -1, selected: null, followsLive: false, fault: "" });
    this.root.dataset.state = "open";
    for (const control of this.waiting.splice(0)) control.disabled = false;
    part("wait").hidden = true;
    part("search").value = "";
    part("back").hidden = clips.key === "shipped";
    const speakers = plural(clips.kinds.speaker.names.length, "speaker");
    const model = clips.model ? `, as the model ${clips.model} hears them` : "";
    put(part("from"), `${plural(clips.n, "clip")} of ${speakers}${model}.`);
    put(part("warning"), clips.warning);
    this.newcomer = new Newcomer(clips, part, () => this.placer, () => this.showNewcomer());
    this.offerLayouts();
    this.offerColours();
    this.offerSpeakers();
    this.arrange(clips.offers("umap2") ? "umap2" : "pca2");
    showSelection(part, clips, null);
    showMetrics(part, clips);
    this.player.show(clips, -1, "");
    this.showNewcomer();
    this.showNote();
    if (!clips.onRequest) this.fetchMissing(clips);
  }

  async openShipped() {
    const wait = this.part("wait");
    const { clips } = this;
    if (!clips) put(wait, "Opening the map");
    const answer = await this.askPersistently("open");
    if (this.clips !== clips) return undefined; // another was opened meanwhile
    if (!answer.refused) return this.open(answer);
    if (this.clips) return this.showFault(answer.refused);
    this.root.dataset.state = "refused";
    wait.innerHTML = `<span>${escapeHtml(answer.refused)}<br>
      <button type="button" class="sd-button" data-act="shipped">Try again</button></span>`;
    return undefined;
  }

  placeFile(file) {
    if (!file) return;
    if (!this.newcomer) return this.showFault("The map is not open yet: drop the clip once it is.");
    this.leaveOwnLayout();
    this.newcomer.placeClip(file.name, (placer) => placer.clip(file));
  }

  placeExample() {
    this.leaveOwnLayout();
    this.newcomer.placeClip(`an ${EXAMPLE}`, (placer) => placer.example(), this.server || this.browser);
  }

  /* Follows the voice of the tab Live as soon as the map is looked at, and once: whoever stops that, or
     is refused, is left in peace until Live starts again. */
  onLiveSound(detail) {
    if (!detail) this.followsLive = false;
    if (!detail || this.followsLive || !this.newcomer || this.newcomer.isLive || !this.root.offsetParent) return;
    this.followsLive = true;
    this.leaveOwnLayout();
    this.newcomer.speak(LiveSound, detail, detail.isHere ? this.browser : this.placer);
  }
}

export const mount = (gradio) => {
  const tab = new MapTab(gradio);
  listen(tab);
  addEventListener("sd-sound", ({ detail }) => tab.onLiveSound(detail));
  inBrowser.onChange(() => tab.newcomer?.changePlacer());
  addEventListener("pagehide", () => tab.newcomer && tab.newcomer.leave());
  // The map is fetched when the tab is first looked at.
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    observer.disconnect();
    tab.openShipped();
  });
  observer.observe(tab.root);
};
