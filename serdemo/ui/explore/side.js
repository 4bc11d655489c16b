/* Beside the map: the legend, what is selected, and how clusters and emotions agree. */
const MOST_NAMED = 200; // in the legend, the commonest

const showLegend = (clips, kind) => {
  put(part("legend-title"), TITLES[kind]);
  const looks = clips.looks(kind);
  const off = clips.off[kind] || new Set();
  const found = clips.counts(kind)
    .filter(({ shown, code }) => clips.speaker < 0 || shown || off.has(code));
  const more = found.length - MOST_NAMED;
  renew(part("legend"), "code", found.slice(0, MOST_NAMED)
    .map(({ name, code, shown, whole }) => `<li><label><input type="checkbox" data-code="${code}"
      ${off.has(code) ? "" : "checked"}>${markerSvg(looks[code])}<span>${clean(name)}</span></label>
      <span class="sd-number">${count(shown)} of ${count(whole)}</span></li>`)
    .join("") + (more > 0 ? `<li>and ${count(more)} more: search for them</li>` : ""));
};

const showSelection = (told, clips) => {
  const box = part("selection");
  if (!told) {
    box.innerHTML = `<h3>Selection</h3><p class="sd-live-small">Press Lasso and draw round some points,
      or hold Shift while dragging: what is among them is counted here.</p>`;
    return;
  }
  const kinds = [["emotion", "As meant"], ["prediction", "As heard"], ["cluster", "Clusters"], ["speaker", "Speakers"]]
    .filter(([kind]) => told.counts[kind] && clips.has(kind));
  box.innerHTML = `<h3>${plural(told.n, "clip")} selected</h3><div class="sd-map-counts">${kinds.map(
    ([kind, title]) => `<table><caption>${title}</caption><tbody>${told.counts[kind].map(
      ([name, n, whole]) => `<tr><th scope="row">${clean(name)}</th>
        <td>${count(n)} of ${count(whole)}</td></tr>`).join("")}</tbody></table>`).join("")}</div>
    <p class="sd-downloads"><button type="button" class="sd-button" data-save=".csv" data-chosen>Table (CSV)</button>
    <button type="button" class="sd-button" data-save=".parquet" data-chosen>Table (Parquet)</button>
    <button type="button" class="sd-button" data-act="unselect">Clear</button></p>`;
};

const MEANINGS = {
  nmi: ["NMI", "How much a clip's cluster tells of its emotion: 0 nothing, 1 everything."],
  ari: ["ARI", "Pairs of clips that both call alike, chance taken away: 0 by chance, 1 all."],
  purity: ["Purity", "Clips whose emotion is the commonest of their cluster."],
  silhouette: ["Silhouette", "How far the emotions themselves lie apart, −1 to 1."],
};
const FLOOR = "By chance: the same with each speaker's emotions dealt out at random.";

const figure = (value, name) => {
  if (typeof value !== "number") return "–";
  if (name === "purity") return `${(100 * value).toFixed(0)}%`;
  return value.toFixed(2).replace(/^-(?=.*[1-9])/, "−").replace("-", "");
};

// Of one speaker how many clips of each emotion each cluster holds: the paper's view.
const crossed = (clips, speaker) => {
  const cells = new Map();
  const emotions = new Map();
  for (let row = 0; row < clips.n; row++) {
    if (clips.kinds.speaker.codes[row] !== speaker) continue;
    const cluster = clips.name("cluster", row);
    const emotion = clips.name("emotion", row);
    if (!cells.has(cluster)) cells.set(cluster, new Map());
    cells.get(cluster).set(emotion, (cells.get(cluster).get(emotion) || 0) + 1);
    emotions.set(emotion, true);
  }
  const heads = [...emotions.keys()].sort();
  const rows = [...cells.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const most = Math.max(...rows.flatMap((row) => [...cells.get(row).values()]));
  return `<div class="sd-map-scroll"><table class="sd-map-crossed"><caption>This speaker's clusters
    against emotions, in clips</caption><thead><tr><td></td>${heads.map((name) =>
    `<th scope="col">${clean(name)}</th>`).join("")}</tr></thead><tbody>${rows.map((row) =>
    `<tr><th scope="row">${clean(row)}</th>${heads.map((name) => {
      const n = cells.get(row).get(name) || 0;
      return `<td style="--share:${n / most}">${n || ""}</td>`;
    }).join("")}</tr>`).join("")}</tbody></table></div>`;
};

// Whether the model has learnt from the speaker that is looked at, where that is known.
const training = (clips) => {
  if (!clips.has("training")) return "";
  const row = clips.kinds.speaker.codes.indexOf(clips.speaker);
  return ` (${clips.name("training", row)})`;
};

const showMetrics = (clips) => {
  const box = part("metrics");
  const head = "<h3>Do clusters follow emotions?</h3>";
  const name = clips.speaker < 0 ? "" : clips.kinds.speaker.names[clips.speaker];
  const { speakers, mean, new: fresh } = clips.figures;
  if (!mean) {
    box.innerHTML = `${head}<p class="sd-live-small">${clips.missing.includes("study")
      ? "Clusters are being computed." : "These are not known for this map."}</p>`;
    return;
  }
  const one = name ? (Object.hasOwn(speakers, name) ? speakers[name] : undefined) : mean;
  if (!one) {
    box.innerHTML = `${head}<p>This speaker's figures are not known.</p>`;
    return;
  }
  const known = typeof one.found.nmi === "number";
  const who = name
    ? `${clean(name)}${training(clips)}: ${plural(one.n, "clip")}, ${plural(one.clusters, "cluster")}.`
    : `Each speaker by itself, averaged over the ${count(mean.scored)} with two emotions or more.`;
  const learnt = name || !fresh || fresh.scored === mean.scored ? "" : `<p>${[`Of the
    ${count(fresh.scored)} speakers new to the model alone: NMI ${figure(fresh.found.nmi, "nmi")}, by chance
    ${figure(fresh.chance.nmi, "nmi")}`, `purity ${figure(fresh.found.purity, "purity")}, by chance
    ${figure(fresh.chance.purity, "purity")}`].join("; ")}. From the others it has learnt.</p>`;
  const rows = Object.entries(MEANINGS).map(([key, [title, told]]) => `<tr>
    <th scope="row">${title}<small>${told}</small></th><td>${figure(one.found[key], key)}</td>
    <td>${figure(one.chance[key], key)}</td></tr>`).join("");
  box.innerHTML = `${head}<p class="sd-live-small">${who} Clusters never see an emotion: k-means on the
    embeddings of one speaker, 3 to 10 of them by silhouette.</p><div class="sd-map-below"><div>${known
    ? `<table class="sd-map-figures"><thead><tr><td></td><th scope="col">Found</th>
      <th scope="col">By chance</th></tr></thead><tbody>${rows}</tbody></table>
      ${learnt}<p class="sd-live-small">${FLOOR} All of it is reckoned on
      the embeddings themselves, not on the picture.</p>`
    : "<p>With one emotion there is nothing to compare clusters with.</p>"}</div>${
    name && clips.has("cluster") ? crossed(clips, clips.speaker) : ""}</div>`;
};
