/* A microphone of the machine that serves the page: its sound comes with the answers, so that this page
   can draw it, play it and save it as any other. */
import { wait } from "../shell/js/dom.js";
import { UNREACHED } from "../shell/js/rpc.js";
import { LastMinute, fromBase64 } from "../shell/js/sound.js";
import { Link } from "./link.js";

const POLL_MS = 100;

export class LocalLink extends Link {
  async open(device) {
    this.device = Number(device);
    const refusal = await this.begin();
    if (refusal) throw new Error(refusal);
  }

  async begin() {
    const response = await this.openStream("open_local", { device: this.device });
    if (response.refused) return response.refused;
    if (this.over) { // stopped meanwhile
      this.api.leave(this.stream);
      return "";
    }
    this.rate = response.rate;
    this.sound = this.sound || new LastMinute(response.rate);
    this.base = this.sound.written;
    this.poll(this.stream);
    return "";
  }

  async poll(stream) {
    const isCurrent = () => !this.over && this.stream === stream;
    while (isCurrent()) {
      await wait(POLL_MS);
      const first = this.sound.written - this.base;
      const response = await this.api.ask("read_local", { stream, first, since: this.since });
      if (!isCurrent()) return;
      if (response.unreached) {
        this.noteOffline(UNREACHED);
      } else if (response.refused) {
        this.fail(response.refused);
      } else {
        this.noteOnline();
        this.accept(response);
      }
    }
  }

  accept(response) {
    const block = fromBase64(response.samples);
    this.sound.push(block);
    this.sent = this.sound.written;
    this.lost = response.lost;
    if (block.length) this.on.sound(block);
    this.noteAnswer(response);
  }

  age(seconds, response) {
    return response.delay_s;
  }

  processing() {
    return "from this computer's own microphone";
  }

  async change() {}

  pause() {
    this.api.leave(this.stream);
    this.stream = "";
  }

  async resume() {
    const refusal = await this.begin();
    if (refusal) this.fail(refusal);
  }

  async close() {
    const { over } = this;
    this.over = true;
    return this.closeStream(over);
  }
}
