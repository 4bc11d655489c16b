/* Whose turn it is in a thread: live sound goes before the pieces of a recording. */
export const MAX_WAIT_MS = 1000; // so that a recording goes on, however busy the rest

/* Resolves in the next task of the event loop, once what came in has been taken. */
export const nextTask = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });

export class Turns {
  constructor() {
    this.urgent = 0;
    this.waiting = [];
  }

  /* What `work` resolves to; nothing waits its turn before it. */
  async first(work) {
    this.urgent += 1;
    try {
      return await work();
    } finally {
      this.urgent -= 1;
      if (!this.urgent) for (const go of this.waiting.splice(0)) go();
    }
  }

  /* Resolves once no work that goes first is pending, or has been for long. */
  async background() {
    await nextTask();
    if (!this.urgent) return;
    await new Promise((resolve) => {
      this.waiting.push(resolve);
      setTimeout(resolve, MAX_WAIT_MS);
    });
  }
}
