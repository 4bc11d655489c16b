/* Runs in the audio thread. Posts about 0.1 s of mono samples at a time, and at which frame of the
   context's clock they ended; any message to it posts what has gathered so far. */
registerProcessor("sd-tap", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = 128 * Math.round(sampleRate / 1280);
    this.startBlock();
    this.port.onmessage = () => this.post(currentFrame, true);
  }

  startBlock() {
    this.block = new Int16Array(this.size);
    this.filled = 0;
  }

  post(end, last) {
    this.port.postMessage({ block: this.block.slice(0, this.filled), end, last });
    this.startBlock();
  }

  process([[mono]]) {
    if (!mono) return true;
    for (const value of mono) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(32768 * value)));
    }
    if (this.filled === this.size) this.post(currentFrame + mono.length, false);
    return true;
  }
});
