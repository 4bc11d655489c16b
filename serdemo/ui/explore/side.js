/* Beside the map: the legend, the selection, and how clusters and emotions agree. */
import { count, escapeHtml, plural, put, replaceKeepingFocus } from "../shell/js/dom.js";
import { TITLES } from "./clips.js";
import { markerSvg } from "./sprites.js";

const MAX_LEGEND = 200; // names, the commonest
const SELECTION_KINDS = { emotion: "As meant", prediction: "As heard", cluster: "Clusters", speaker: "Speakers" };

/* `styles` are { colour, symbol } of the names of the kind. */
export const showLegend = (part, clips, kind, styles) => {
  put(part("legend-title"), TITLES[kind]);
  const hidden = clips.hidden[kind] || new Set();
  const names = clips.counts(kind)
    .filter(({ shown, code }) => clips.speaker < 0 || shown || hidden.has(code));
  const items = names.slice(0, MAX_LEGEND)
    .map(({ name, code, shown, whole }) => `<li><label><input type="checkbox" data-code="${code}"
      ${hidden.has(code) ? "" : "checked"}>${markerSvg(styles[code])}<span>${escapeHtml(name)}</span></label>
      <span class="sd-number">${count(shown)} of ${count(whole)}</span></li>`);
  const more = names.length - MAX_LEGEND;
  if (more > 0) items.push(`<li>and ${count(more)} more: search for them</li>`);
  replaceKeepingFocus(part("legend"), "code", items.join(""));
};

/* `selection` is { n, counts }: of each kind, rows [name, selected, whole]; null for none. */
export const showSelection = (part, clips, selection) => {
  const card = part("selection");
  if (!selection) {
    card.innerHTML = `<h2>Selection</h2><p class="sd-live-small">Press Lasso and draw round some points,
      or hold Shift while dragging: what is among them is counted here.</p>`;
    return;
  }
  const tables = Object.entries(SELECTION_KINDS)
    .filter(([kind]) => selection.counts[kind] && clips.has(kind))
    .map(([kind, title]) => `<table><caption>${title}</caption><tbody>${selection.counts[kind].map(
      ([name, n, whole]) => `<tr><th scope="row">${escapeHtml(name)}</th>
        <td>${count(n)} of ${count(whole)}</td></tr>`).join("")}</tbody></table>`);
  card.innerHTML = `<h2>${plural(selection.n, "clip")} selected</h2>
    <div class="sd-map-counts">${tables.join("")}</div>
    <p class="sd-downloads"><button type="button" class="sd-button" data-save=".csv" data-chosen>Table (CSV)</button>
    <button type="button" class="sd-button sd-map-served" data-save=".parquet" data-chosen>Table (Parquet)</button>
    <button type="button" class="sd-button" data-act="unselect">Clear</button></p>`;
};

const MEANINGS = {
  nmi: ["NMI", "How much a clip's cluster tells of its emotion: 0 nothing, 1 everything."],
  ari: ["ARI", "Pairs of clips that both call alike, chance taken away: 0 by chance, 1 all."],
  purity: ["Purity", "Clips whose emotion is the commonest of their cluster."],
  silhouette: ["Silhouette", "How far the emotions themselves lie apart, −1 to 1."],
};
const CHANCE_NOTE = "By chance: the same with each speaker's emotions dealt out at random.";

/* A figure as text; purity in percent, a dash for what is unknown. */
export const figure = (value, name) => {
  if (typeof value !== "number") return "–";
  if (name === "purity") return `${(100 * value).toFixed(0)}%`;
  return value.toFixed(2).replace(/^-(?=.*[1-9])/, "−").replace("-", "");
};

/* How well a speaker's clusters agree with its emotions, for the list of speakers. */
export const nmiLabel = (clips, speaker) => {
  const speakers = clips.figures.speakers || {};
  const nmi = Object.hasOwn(speakers, speaker) ? speakers[speaker].found.nmi : null;
  return typeof nmi === "number" ? `, NMI ${figure(nmi)}` : "";
};

/* A speaker's clips counted by cluster and emotion: { emotions, clusters, cells }, where `cells` maps a
   cluster to a map from emotion to clips. */
export const crosstab = (clips, speaker) => {
  const cells = new Map();
  const emotions = new Set();
  for (let row = 0; row < clips.n; row++) {
    if (clips.kinds.speaker.codes[row] !== speaker) continue;
    const cluster = clips.name("cluster", row);
    const emotion = clips.name("emotion", row);
    if (!cells.has(cluster)) cells.set(cluster, new Map());
    cells.get(cluster).set(emotion, (cells.get(cluster).get(emotion) || 0) + 1);
    emotions.add(emotion);
  }
  const clusters = [...cells.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return { emotions: [...emotions].sort(), clusters, cells };
};

const crosstabHtml = ({ emotions, clusters, cells }) => {
  const max = Math.max(...clusters.flatMap((cluster) => [...cells.get(cluster).values()]));
  const head = emotions.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  const row = (cluster) => emotions.map((emotion) => {
    const n = cells.get(cluster).get(emotion) || 0;
    return `<td style="--share:${n / max}">${n || ""}</td>`;
  }).join("");
  return `<div class="sd-map-scroll"><table class="sd-map-crossed"><caption>This speaker's clusters
    against emotions, in clips</caption><thead><tr><td></td>${head}</tr></thead><tbody>${clusters.map((cluster) =>
    `<tr><th scope="row">${escapeHtml(cluster)}</th>${row(cluster)}</tr>`).join("")}</tbody></table></div>`;
};

/* Whether the model was trained on the chosen speaker, where that is known. */
const trainingNote = (clips) => {
  if (!clips.has("training")) return "";
  const row = clips.kinds.speaker.codes.indexOf(clips.speaker);
  return ` (${clips.name("training", row)})`;
};

/* Which clips the figures are of. */
const scopeSentence = (clips, speaker, figures, mean) => (speaker
  ? `${escapeHtml(speaker)}${trainingNote(clips)}: ${plural(figures.n, "clip")}, ${plural(figures.clusters, "cluster")}.`
  : `Each speaker by itself, averaged over the ${count(mean.scored)} with two emotions or more.`);

/* The means over speakers that the model was not trained on, where they are not all. */
const unseenSentence = (unseen, mean) => {
  if (!unseen || unseen.scored === mean.scored) return "";
  const pair = (name) => `${figure(unseen.found[name], name)}, by chance ${figure(unseen.chance[name], name)}`;
  return `<p>Of the ${count(unseen.scored)} speakers new to the model alone: NMI ${pair("nmi")};
    purity ${pair("purity")}. From the others it has learnt.</p>`;
};

const figuresHtml = (figures, unseen) => {
  const rows = Object.entries(MEANINGS).map(([key, [title, meaning]]) => `<tr>
    <th scope="row">${title}<small>${meaning}</small></th><td>${figure(figures.found[key], key)}</td>
    <td>${figure(figures.chance[key], key)}</td></tr>`);
  return `<table class="sd-map-figures"><thead><tr><td></td><th scope="col">Found</th>
    <th scope="col">By chance</th></tr></thead><tbody>${rows.join("")}</tbody></table>
    ${unseen}<p class="sd-live-small">${CHANCE_NOTE} All of it is computed on
    the embeddings themselves, not on the picture.</p>`;
};

/* Figures of the chosen speaker, or the means over all. */
export const showMetrics = (part, clips) => {
  const speaker = clips.speaker < 0 ? "" : clips.kinds.speaker.names[clips.speaker];
  const { speakers, mean, new: unseen } = clips.figures;
  const set = (html) => {
    part("metrics").innerHTML = `<h2>Do clusters follow emotions?</h2>${html}`;
  };
  if (!mean) {
    return set(`<p class="sd-live-small">${clips.isComputing && clips.missing.includes("study")
      ? "Clusters are being computed." : "These are not known for this map."}</p>`);
  }
  const ofSpeaker = Object.hasOwn(speakers, speaker) ? speakers[speaker] : undefined;
  const figures = speaker ? ofSpeaker : mean;
  if (!figures) return set("<p>This speaker's figures are not known.</p>");
  const body = typeof figures.found.nmi === "number"
    ? figuresHtml(figures, speaker ? "" : unseenSentence(unseen, mean))
    : "<p>With one emotion there is nothing to compare clusters with.</p>";
  const crossed = speaker && clips.has("cluster") ? crosstabHtml(crosstab(clips, clips.speaker)) : "";
  return set(`<p class="sd-live-small">${scopeSentence(clips, speaker, figures, mean)} Clusters never see
    an emotion: k-means on the embeddings of one speaker, 3 to 10 of them by silhouette.</p>
    <div class="sd-map-below"><div>${body}</div>${crossed}</div>`);
};
