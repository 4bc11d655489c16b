/* The browser's microphone as blocks of 16-bit samples, and what to say when there is none. */

// Runs in the audio thread. Posts about 0.1 s of mono samples at a time, and at which frame of the
// context's clock they ended; "flush" posts what has gathered so far.
const TAP = `registerProcessor("sd-tap", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = 128 * Math.round(sampleRate / 1280);
    this.begin();
    this.port.onmessage = () => this.post(currentFrame, true);
  }
  begin() {
    this.block = new Int16Array(this.size);
    this.filled = 0;
  }
  post(end, last) {
    this.port.postMessage({ block: this.block.slice(0, this.filled), end, last });
    this.begin();
  }
  process([[mono]]) {
    if (!mono) return true;
    for (const value of mono) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(32768 * value)));
    }
    if (this.filled === this.size) this.post(currentFrame + mono.length, false);
    return true;
  }
});`;

const LET_GO = "The microphone was let go before it could be heard.";

/* The browser's microphone. `onblock` gets each Int16Array, `ontrouble` a sentence. */
class BrowserMicrophone {
  constructor(onblock, ontrouble) {
    this.onblock = onblock;
    this.ontrouble = ontrouble;
    this.ended = { frame: 0, samples: 0 };
    this.samples = 0;
    this.wanted = false; // until the server is ready, what is heard is let go
  }

  async open(device, cleaned) {
    if (!window.isSecureContext || !navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error(
        "Browsers give a microphone only to pages on https or on localhost: open this page there."
      );
    }
    // Made before anything is waited for, while the press of the button still counts.
    this.context = new AudioContext({ sampleRate: 16000, latencyHint: "interactive" });
    const track = await this.ask(device, cleaned);
    try {
      await this.attach(track);
      if (this.closed) throw new Error(LET_GO);
    } catch (error) {
      track.stop();
      await this.close();
      throw error;
    }
  }

  async attach(track) {
    try {
      await this.listen();
      this.connect(track);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      // Some browsers do not convert rates: then the sound goes out at the microphone's own.
      await this.context.close();
      this.context = new AudioContext({ latencyHint: "interactive" });
      await this.listen();
      this.connect(track);
    }
    await this.context.resume();
  }

  get rate() {
    return this.context.sampleRate;
  }

  begin() {
    this.wanted = true;
  }

  async listen() {
    const script = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
    await this.context.audioWorklet.addModule(script);
    URL.revokeObjectURL(script);
    this.tap = new AudioWorkletNode(this.context, "sd-tap", {
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.tap.connect(this.context.destination); // it stays silent, but is run only so
    this.tap.port.onmessage = ({ data }) => {
      if (!this.wanted) return;
      this.samples += data.block.length;
      this.ended = { frame: data.end, samples: this.samples };
      if (data.block.length) this.onblock(data.block);
      if (data.last && this.flushed) this.flushed();
    };
  }

  async ask(device, cleaned) {
    const wanted = {
      autoGainControl: cleaned,
      noiseSuppression: cleaned,
      echoCancellation: cleaned,
    };
    if (device) wanted.deviceId = { exact: device };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    const [track] = stream.getAudioTracks();
    if (!this.closed) return track;
    track.stop(); // whoever was asked allowed it too late
    throw new Error(LET_GO);
  }

  connect(track) {
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    if (this.source) this.source.disconnect();
    if (this.track) this.release();
    this.source = source;
    this.track = track;
    source.connect(this.tap);
    track.onended = () => this.ontrouble(
      "The microphone was unplugged or taken away: connect it again, then press Start."
    );
  }

  // Another device or other treatment, without a break in the stream.
  async change(device, cleaned) {
    this.connect(await this.ask(device, cleaned));
  }

  settings() {
    return this.track.getSettings();
  }

  // Seconds since that sample reached this page.
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
        setTimeout(resolve, 300);
      });
    }
    if (this.track) this.release();
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}

/* A voice that comes with the page, in the place of a microphone: heard aloud while it is answered. */
class ExampleVoice extends BrowserMicrophone {
  async open() {
    this.context = new AudioContext({ sampleRate: 16000 });
    const told = await ask("example", {});
    if (!told || told.refused) throw new Error(told ? told.refused : UNREACHED);
    const samples = fromBase64(told.samples);
    const buffer = this.context.createBuffer(1, samples.length, told.rate);
    buffer.copyToChannel(Float32Array.from(samples, (value) => value / 32768), 0);
    await this.listen();
    this.source = new AudioBufferSourceNode(this.context, { buffer });
    this.source.connect(this.tap);
    this.source.connect(this.context.destination);
    this.source.onended = () => this.ontrouble("");
    this.track = { enabled: true, stop: () => this.wanted && this.source.stop(), getSettings: () => ({}) };
    await this.context.resume();
  }

  begin() {
    super.begin();
    this.source.start();
  }

  async change() {}

  release() {
    this.source.onended = null;
    super.release();
  }
}

// What to do, for each way in which a browser refuses a microphone.
const REFUSALS = {
  NotAllowedError:
    "The microphone is not allowed here: press the sign beside the page's address, allow the " +
    "microphone, then press Start again.",
  NotFoundError: "No microphone was found: connect one, then press Start again.",
  NotReadableError:
    "The microphone could not be opened: close other programs that use it, then press Start again.",
  OverconstrainedError: "That microphone is gone: choose another one, then press Start again.",
};

const refusal = (error) => REFUSALS[error.name] || error.message;
