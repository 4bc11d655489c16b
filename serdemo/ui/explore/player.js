/* The clip that is pointed at or clicked: what it is, and its sound. */
const told = (clips, row) => {
  const lines = [clips.name("speaker", row)];
  if (clips.has("emotion")) lines.push(`meant: ${clips.name("emotion", row)}`);
  if (clips.has("prediction")) {
    const share = clips.shares ? ` (${clips.shares[row]}%)` : "";
    lines.push(`heard: ${clips.name("prediction", row)}${share}`);
  }
  return lines;
};

const showTip = (clips, row, x, y) => {
  const tip = part("tip");
  tip.hidden = row < 0;
  part("field").classList.toggle("sd-map-on", row >= 0);
  if (row < 0) return;
  tip.innerHTML = [`<b>${clean(clips.names[row])}</b>`, ...told(clips, row).map(clean)].join("<br>");
  const field = part("field").getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, field.width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + tip.offsetHeight + 24 > field.height ? y - tip.offsetHeight - 10 : y + 16}px`;
};

const player = part("player");
let playing = 0;

const showClip = (clips, row, says) => {
  const box = part("clip");
  box.hidden = row < 0;
  if (row < 0) return;
  box.innerHTML = `<h3>${clean(clips.names[row])}</h3><p>${told(clips, row).map(clean).join("<br>")}</p>
    <p class="sd-map-heard" role="status" data-part="heard">${clean(says)}</p>
    <div class="sd-map-buttons"><button type="button" class="sd-button" data-act="again" data-part="again" hidden>Play again</button>
    <button type="button" class="sd-button" data-act="speaker-of">Only this speaker</button></div>`;
};

// Ends the sound, or what would become one.
const hush = () => {
  playing += 1;
  player.pause();
};

// Asks for a clip's sound and plays it; the last one asked for wins.
const playClip = async (clips, row) => {
  hush();
  const own = playing;
  showClip(clips, row, "Fetching its sound");
  const answer = await ask("play", { map: clips.key, row });
  if (own !== playing) return;
  if (answer.samples === undefined) {
    put(part("heard"), answer.silent || answer.refused);
    return;
  }
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(wav(fromBase64(answer.samples), answer.rate));
  part("again").hidden = false;
  hear();
};

const hear = async () => {
  player.currentTime = 0;
  try {
    await player.play();
    put(part("heard"), "Playing");
  } catch (error) {
    if (error.name === "AbortError") return; // stopped before it began
    put(part("heard"), "The browser did not let it play: press Play again.");
  }
};

for (const kind of ["play", "pause"]) {
  player.addEventListener(kind, () => part("again")
    && put(part("again"), player.paused ? "Play again" : "Stop playing"));
}
player.addEventListener("ended", () => part("heard") && put(part("heard"), "Played"));
