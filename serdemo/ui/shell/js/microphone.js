/* The browser's microphone as blocks of 16-bit samples, and a sentence for each way it fails. */
import { wait } from "./dom.js";
import { UNREACHED } from "./rpc.js";
import { FULL_SCALE, fromBase64 } from "./sound.js";

const RATE = 16000;
const FLUSH_MS = 300;
const RESUME_MS = 1500; // a browser may never answer
const SUSPENDED = "The browser paused its sound, as for a call or in the background: start once more.";
const CANCELLED = "The microphone was let go before it could be heard.";

/* The browser's microphone. `onBlock` gets each Int16Array, `onTrouble` a sentence when it ends, and
   `onSuspended` whether the browser pauses all sound of the page, which it may end by itself. */
export class BrowserMicrophone {
  constructor(onBlock, onTrouble, onSuspended = (is) => is && onTrouble(SUSPENDED)) {
    Object.assign(this, { onBlock, onTrouble, onSuspended });
    this.suspended = false;
    this.paused = false; // by the visitor
    this.ended = { frame: 0, samples: 0 };
    this.samples = 0;
    this.passing = false; // until the server is ready, sound is dropped
  }

  async open(device, cleaned) {
    if (!window.isSecureContext || !navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error(
        "Browsers give a microphone only to pages on https or on localhost: open this page there."
      );
    }
    // Made before anything is waited for, while the press of the button still counts.
    this.makeContext({ sampleRate: RATE, latencyHint: "interactive" });
    const track = await this.request(device, cleaned);
    try {
      await this.attach(track);
      if (this.closed) throw new Error(CANCELLED);
    } catch (error) {
      track.stop();
      await this.close();
      throw error;
    }
  }

  async attach(track) {
    try {
      await this.addTap();
      this.connect(track);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      // Some browsers do not convert rates: then the sound goes out at the microphone's own.
      await this.context.close();
      this.makeContext({ latencyHint: "interactive" });
      await this.addTap();
      this.connect(track);
    }
    await this.wake();
  }

  makeContext(options) {
    this.context = new AudioContext(options);
    this.context.onstatechange = () => this.noteState();
  }

  noteState() {
    const suspended = this.context.state !== "running";
    if (!this.passing || this.closed || this.paused || suspended === this.suspended) return;
    this.suspended = suspended;
    this.onSuspended(suspended);
  }

  /* Asks the browser to run the sound, which it may refuse without a press, or during a call. */
  wake() {
    return Promise.race([this.context.resume().catch(() => {}), wait(RESUME_MS)]);
  }

  get rate() {
    return this.context.sampleRate;
  }

  start() {
    this.passing = true;
    this.noteState();
  }

  async addTap() {
    const script = new URL("./tap.js", import.meta.url);
    await this.context.audioWorklet.addModule(script).catch((error) => {
      throw error.name === "AbortError" ? new Error(UNREACHED) : error;
    });
    this.tap = new AudioWorkletNode(this.context, "sd-tap", {
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.tap.connect(this.context.destination); // it stays silent, but is run only so
    this.tap.port.onmessage = ({ data }) => {
      if (!this.passing) return;
      this.samples += data.block.length;
      this.ended = { frame: data.end, samples: this.samples };
      if (data.block.length) this.onBlock(data.block);
      if (data.last && this.flushed) this.flushed();
    };
  }

  /* Asks the browser for a device; its own processing of the sound is on if `cleaned`. */
  async request(device, cleaned) {
    const audio = {
      autoGainControl: cleaned,
      noiseSuppression: cleaned,
      echoCancellation: cleaned,
    };
    if (device) audio.deviceId = { exact: device };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const [track] = stream.getAudioTracks();
    if (!this.closed) return track;
    track.stop(); // it was allowed too late
    throw new Error(CANCELLED);
  }

  connect(track) {
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    if (this.source) this.source.disconnect();
    if (this.track) this.release();
    this.source = source;
    this.track = track;
    source.connect(this.tap);
    track.onended = () => this.onTrouble(
      "The microphone was unplugged or taken away: connect it again, then press Start."
    );
  }

  /* Another device or other processing, without a break in the stream. */
  async change(device, cleaned) {
    this.connect(await this.request(device, cleaned));
  }

  settings() {
    return this.track.getSettings();
  }

  /* Seconds since the sample of that number reached this page. */
  age(sample) {
    const frame = this.ended.frame - (this.ended.samples - sample);
    return this.context.currentTime - frame / this.rate;
  }

  async pause() {
    this.paused = true;
    this.track.enabled = false;
    await this.context.suspend();
  }

  /* Resolves to whether the sound runs again. */
  async resume() {
    this.track.enabled = true;
    await this.wake();
    this.paused = false;
    this.suspended = this.context.state !== "running";
    return !this.suspended;
  }

  release() {
    this.track.onended = null;
    this.track.stop();
  }

  async close() {
    this.closed = true;
    if (this.track && this.context.state === "running") {
      await new Promise((resolve) => {
        this.flushed = resolve;
        this.tap.port.postMessage("flush");
        setTimeout(resolve, FLUSH_MS);
      });
    }
    if (this.track) this.release();
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}

/* The class of an example voice in place of a microphone: played aloud while it is recognised.
   `ask` is the tab's function that calls the server. */
export const exampleVoice = (ask) => class extends BrowserMicrophone {
  async open() {
    this.makeContext({ sampleRate: RATE });
    const example = await ask("example");
    if (example.refused) throw new Error(example.refused);
    const samples = fromBase64(example.samples);
    const buffer = this.context.createBuffer(1, samples.length, example.rate);
    buffer.copyToChannel(Float32Array.from(samples, (value) => value / FULL_SCALE), 0);
    await this.addTap();
    this.source = new AudioBufferSourceNode(this.context, { buffer });
    this.source.connect(this.tap);
    this.source.connect(this.context.destination);
    this.source.onended = () => this.onTrouble("");
    const stop = () => this.passing && this.source.stop();
    this.track = { enabled: true, stop, getSettings: () => ({}) };
    await this.wake();
  }

  start() {
    super.start();
    this.source.start();
  }

  async change() {}

  release() {
    this.source.onended = null;
    super.release();
  }
};

// The remedy for each way in which a browser refuses a microphone.
const REFUSALS = {
  NotAllowedError:
    "The microphone is not allowed here: press the sign beside the page's address, allow the " +
    "microphone, then press Start again.",
  NotFoundError: "No microphone was found: connect one, then press Start again.",
  NotReadableError:
    "The microphone could not be opened: close other programs that use it, then press Start again.",
  OverconstrainedError: "That microphone is gone: choose another one, then press Start again.",
};

/* An error of opening a microphone as a sentence. */
export const refusal = (error) => REFUSALS[error.name] || error.message;
