/* Calibration to the visitor's neutral voice: a speaker offset that this page holds until it is left. */
import { put, wait } from "../shell/js/dom.js";
import { footerData } from "../shell/js/rpc.js";

const NEUTRAL_S = 6;
const HINT = "Speak for six seconds in your everyday voice. It helps some voices and not others, so it "
  + "is off unless you ask.";

export class Calibration {
  constructor(part, ask) {
    Object.assign(this, { part, ask, offset: null, model: "", running: false });
    this.show("");
  }

  /* The offset for new streams: null where it is switched off, or of another model. */
  get used() {
    return this.part("neutral").checked && this.model === footerData().model ? this.offset : null;
  }

  show(sentence) {
    put(this.part("neutral-status"), sentence || HINT);
  }

  enable(live) {
    this.part("calibrate").disabled = !live || this.running;
    this.part("neutral").disabled = !this.offset;
  }

  /* Counts the seconds down, then has the server estimate the offset from them. */
  async run(link, isLive) {
    this.running = true;
    this.enable(true);
    for (let left = NEUTRAL_S; left > 0; left -= 1) {
      this.show(`Go on speaking in your everyday voice: ${left} s more.`);
      await wait(1000);
      if (!isLive()) break;
    }
    const response = isLive() ? await this.ask("calibrate", { stream: link.stream }) : {};
    this.running = false;
    if (response.neutral) {
      this.offset = response.neutral;
      this.model = link.model;
      this.part("neutral").checked = true;
      this.show(response.warnings[0] || "Calibrated: answers now start from your own neutral voice.");
    } else {
      this.show(response.refused || "Not calibrated: press it again while listening.");
    }
    this.enable(isLive());
  }

  /* Applies the switch to a running stream. */
  async apply(link) {
    const { refused } = await this.ask("adjust", { stream: link.stream, neutral: this.used });
    if (refused) this.show(refused);
  }
}
