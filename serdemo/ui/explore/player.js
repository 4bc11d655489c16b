/* The clip that is pointed at or clicked: a description, and its sound. */
import { escapeHtml, put } from "../shell/js/dom.js";
import { fromBase64, wav } from "../shell/js/sound.js";

/* Shows a tip for a clip at (x, y) on the map; row -1 hides it. */
export const showTip = (part, clips, row, x, y) => {
  const tip = part("tip");
  tip.hidden = row < 0;
  part("field").classList.toggle("sd-map-on", row >= 0);
  if (row < 0) return;
  const lines = clips.description(row).map(escapeHtml);
  tip.innerHTML = [`<b translate="no">${escapeHtml(clips.clip(row))}</b>`, ...lines].join("<br>");
  const field = part("field").getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, field.width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + tip.offsetHeight + 24 > field.height ? y - tip.offsetHeight - 10 : y + 16}px`;
};

export class ClipPlayer {
  constructor(part, ask) {
    Object.assign(this, { part, ask, audio: part("player"), request: 0 });
    for (const kind of ["play", "pause"]) {
      this.audio.addEventListener(kind, () => {
        if (part("again")) put(part("again"), this.audio.paused ? "Play again" : "Stop playing");
      });
    }
    this.audio.addEventListener("ended", () => part("sound-status") && put(part("sound-status"), "Played"));
  }

  /* Describes a clip beside the map; row -1 hides the card. */
  show(clips, row, status) {
    const card = this.part("clip");
    card.hidden = row < 0;
    if (row < 0) return;
    card.innerHTML = `<h2 translate="no">${escapeHtml(clips.clip(row))}</h2>
      <p>${clips.description(row).map(escapeHtml).join("<br>")}</p>
      <p class="sd-map-sound" role="status" data-part="sound-status">${escapeHtml(status)}</p>
      <div class="sd-map-buttons"><button type="button" class="sd-button" data-act="again" data-part="again" hidden>Play again</button>
      <button type="button" class="sd-button" data-act="speaker-of">Only this speaker</button></div>`;
  }

  /* Ends the sound, or what would become one. */
  stop() {
    this.request += 1;
    this.audio.pause();
  }

  /* Fetches a clip's sound and plays it; the latest request wins. */
  async load(clips, row) {
    this.stop();
    const { request } = this;
    this.show(clips, row, "Fetching its sound");
    const response = await this.ask("play", { map: clips.key, row });
    if (request !== this.request) return;
    if (response.samples === undefined) {
      put(this.part("sound-status"), response.silent || response.refused);
      return;
    }
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(wav(fromBase64(response.samples), response.rate));
    this.part("again").hidden = false;
    this.play();
  }

  async play() {
    this.audio.currentTime = 0;
    try {
      await this.audio.play();
      put(this.part("sound-status"), "Playing");
    } catch (error) {
      if (error.name === "AbortError") return; // stopped before it began
      put(this.part("sound-status"), "The browser did not let it play: press Play again.");
    }
  }

  toggle() {
    return this.audio.paused ? this.play() : this.stop();
  }
}
