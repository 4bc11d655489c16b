/* Calibration to the visitor's neutral voice: numbers that this page keeps until it is left. */
const NEUTRAL_S = 6;
const NEUTRAL_HINT =
  "Speak for six seconds in your everyday voice. It helps some voices and not others, so it is off unless you ask.";

// The foot of the page tells who asks, and which model answers.
const foot = () => (document.querySelector(".sd-footer") || { dataset: {} }).dataset;

const asker = () => ({ neutral: neutral.used, visitor: foot().visitor || "" });

const neutral = {
  shift: null,
  model: "", // that the calibration is of
  until: 0, // when the seconds are over, on the page's clock

  get used() {
    return part("neutral").checked && this.model === foot().model ? this.shift : null;
  },

  tell(sentence) {
    put(part("neutral-told"), sentence || NEUTRAL_HINT);
  },

  offer(live) {
    part("calibrate").disabled = !live || this.until > 0;
    part("neutral").disabled = !this.shift;
  },

  // Counts the seconds down, then has the server listen back over them.
  async calibrate(link, stillLive) {
    this.until = performance.now() + 1000 * NEUTRAL_S;
    this.offer(true);
    for (let left = NEUTRAL_S; left > 0; left -= 1) {
      this.tell(`Go on speaking in your everyday voice: ${left} s more.`);
      await rest(1000);
      if (!stillLive()) break;
    }
    const told = stillLive() ? await ask("calibrate", { stream: link.stream }) : null;
    this.until = 0;
    if (told && told.neutral) {
      this.shift = told.neutral;
      this.model = link.model;
      part("neutral").checked = true;
      this.tell(told.warnings[0] || "Calibrated: answers now start from your own neutral voice.");
    } else {
      this.tell((told && told.refused) || "Not calibrated: press it again while listening.");
    }
    this.offer(stillLive());
  },

  async apply(link) {
    const told = await ask("adjust", { stream: link.stream, neutral: this.used });
    if (!told || told.refused) this.tell((told && told.refused) || UNREACHED);
  },
};
