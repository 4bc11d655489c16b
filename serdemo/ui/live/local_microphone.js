/* What the server hears from a microphone of its own machine: it comes with the answers, so that
   this page can draw it, play it and save it all the same. Handlers are those of BrowserLink. */
class DeskLink {
  constructor(on) {
    this.on = on;
    this.sound = null;
    this.base = this.before = this.sent = this.received = this.lost = this.newest = 0;
    this.over = false;
  }

  async open(device) {
    this.device = Number(device);
    const refused = await this.begin();
    if (refused) throw new Error(refused);
  }

  async begin() {
    const { model } = foot();
    const told = await ask("open_desk", { device: this.device, ...asker() }, WAKE_MS);
    if (!told || told.refused) return told ? told.refused : UNREACHED;
    if (this.over) { // stopped meanwhile
      leave(told.stream);
      return "";
    }
    this.rate = told.rate;
    this.stream = told.stream;
    this.model = model;
    this.sound = this.sound || new LastMinute(told.rate);
    this.base = this.before = this.sound.written;
    this.newest = 0;
    this.poll(told.stream);
    return "";
  }

  async poll(stream) {
    let lostAt = 0;
    while (!this.over && this.stream === stream) {
      await rest(100);
      const told = await this.fetch(stream);
      if (this.over || this.stream !== stream) return;
      if (told && told.refused) {
        this.fail(told.refused);
      } else if (told) {
        if (lostAt) this.on.connection(true);
        lostAt = 0;
        this.accept(told);
      } else {
        lostAt = lostAt || performance.now();
        this.on.connection(false);
        if (performance.now() - lostAt > 1000 * GIVE_UP_S) this.fail(UNREACHED);
      }
    }
  }

  fetch(stream) {
    const first = this.sound.written - this.base;
    const since = Math.max(0, this.newest - SINCE_S);
    return ask("hear_desk", { stream, first, since });
  }

  accept(told) {
    const block = fromBase64(told.samples);
    this.sound.push(block);
    this.sent = this.sound.written;
    this.received = this.before + told.received;
    this.lost = told.lost;
    for (const segment of told.segments) this.newest = Math.max(this.newest, segment.end_s);
    if (block.length) this.on.sound(block);
    this.on.answers(told, this.base / this.rate);
  }

  fail(sentence) {
    this.over = true;
    this.on.trouble(sentence);
  }

  age(seconds, told) {
    return told.delay_s;
  }

  settings() {
    return "from this computer's own microphone";
  }

  async change() {}

  pause() {
    leave(this.stream);
    this.stream = "";
  }

  async resume() {
    const refused = await this.begin();
    if (refused) this.fail(refused);
  }

  async close() {
    const { stream, over } = this;
    this.over = true;
    if (!stream) return undefined;
    return over ? leave(stream) : ask("close", { stream, since: this.newest });
  }

  leave() {
    this.over = true;
    if (this.stream) leave(this.stream);
  }
}
