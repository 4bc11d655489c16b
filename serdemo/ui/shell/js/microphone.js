/* The browser's microphone as blocks of 16-bit samples, and a sentence for each way it fails. */
import { UNREACHED } from "./rpc.js";
import { FULL_SCALE, fromBase64 } from "./sound.js";

const RATE = 16000;
const FLUSH_MS = 300;
const CANCELLED = "The microphone was let go before it could be heard.";

/* The browser's microphone. `onBlock` gets each Int16Array, `onTrouble` a sentence when it ends. */
export class BrowserMicrophone {
  constructor(onBlock, onTrouble) {
    this.onBlock = onBlock;
    this.onTrouble = onTrouble;
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
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
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
      this.context = new AudioContext({ latencyHint: "interactive" });
      await this.addTap();
      this.connect(track);
    }
    await this.context.resume();
  }

  get rate() {
    return this.context.sampleRate;
  }

  start() {
    this.passing = true;
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
    this.track.enabled = false;
    await this.context.suspend();
  }

  async resume() {
    this.track.enabled = true;
    await this.context.resume();
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
    this.context = new AudioContext({ sampleRate: RATE });
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
    await this.context.resume();
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
