/* A checkpoint's networks in the browser: embeddings of sound, and logits of embeddings. */
import { SerdemoError } from "./errors.js";
import { fetchBytes } from "./fetching.js";
import { nextTask } from "./turns.js";

export const DESCRIPTION = "model.json";
export const GRAPH = "model.onnx";
export const CLASSIFIER = "classifier.onnx";

/* A checkpoint, with its `description`, the content of its model.json. */
export class OnnxModel {
  constructor(description, session, classifier) {
    Object.assign(this, { description, session, classifier });
  }

  /* Loads the checkpoint in the folder at `url`, whose weights are in the files `weights`, into a
     `runtime`, which may be the promise of one. `onBytes(n)` is called as each n bytes arrive. Raises
     SerdemoError where that fails. */
  static async load({ runtime, url, weights, onBytes }) {
    const folder = url.endsWith("/") ? url : `${url}/`;
    const load = (name) => fetchBytes(new URL(name, folder), onBytes);
    const described = load(DESCRIPTION).then(parse);
    const [onnx, description, graph, classifier, ...contents] = await Promise.all([
      runtime,
      described,
      load(GRAPH),
      described.then(({ labels, dimensions }) =>
        (labels?.length || dimensions?.length ? load(CLASSIFIER) : undefined)),
      ...weights.map(load),
    ]);
    const data = Object.fromEntries(weights.map((name, i) => [name, contents[i]]));
    return new OnnxModel(
      description,
      await onnx.createSession(graph, data),
      classifier && (await onnx.createSession(classifier, data))
    );
  }

  get name() {
    return this.description.name;
  }

  /* Embeddings, a Float32Array each, of windows of 16 kHz samples: one after another, which is as fast here as
     several at once, and lets other work in between. */
  async embeddings(waves) {
    const rows = [];
    for (const wave of waves) {
      const { length } = wave;
      const lengths = { data: BigInt64Array.of(BigInt(length)), dims: [1] };
      const inputs = { wave: { data: wave, dims: [1, length] }, lengths };
      const { embedding } = await this.session.run(inputs, ["embedding"]);
      rows.push(embedding.data);
      await nextTask();
    }
    return rows;
  }

  /* Logits, a Float32Array each, of embeddings. Raises SerdemoError for a model without labels. */
  async logits(embeddings) {
    if (!embeddings.length) return [];
    if (!this.classifier) throw new SerdemoError(`${this.name} embeds voices and gives no answers.`);
    const size = embeddings[0].length;
    const data = new Float32Array(embeddings.length * size);
    embeddings.forEach((row, i) => data.set(row, i * size));
    const { logits } = await this.classifier.run({ embedding: { data, dims: [embeddings.length, size] } });
    const classes = logits.dims[1];
    return embeddings.map((_, i) => logits.data.slice(i * classes, (i + 1) * classes));
  }
}

const parse = (bytes) => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new SerdemoError(`${DESCRIPTION} is damaged: reload the page.`);
  }
};
