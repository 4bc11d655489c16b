/* Live sound answered in the browser: the calls of the tab Live, with the responses that the server gives. */
import { toBase64 } from "../shell/js/sound.js";
import { Calls, field } from "./calls.js";
import { UsageError } from "./errors.js";
import { LiveServices } from "./live_service.js";
import { hasSpeech, nearest, sentence } from "./prediction.js";
import { SILENT_DBFS } from "./quality.js";
import { round } from "./rounding.js";
import { SAMPLE_RATE } from "./samples.js";

export const FLUSH_S = 10; // until what has arrived is answered, at the end
const ANSWER_S = 2; // the same after a piece: the page sends the next one then
const NEUTRAL = "neutral";
const ONLY_HERE = "A browser answers its own microphones alone: choose one of them.";

/* A segment with as many digits as are of use, since many are sent. */
const row = (segment) => ({
  ...segment,
  confidence: round(segment.confidence, 4),
  probabilities: Object.fromEntries(
    Object.entries(segment.probabilities).map(([label, share]) => [label, round(share, 4)]),
  ),
});

/* A prediction as the page shows it: the sentence, the labels it names and their shares. Of its segments there
   are those that end after `since` seconds. */
export const answer = (prediction, since) => {
  const { probabilities, label, unsure, segments, warnings } = prediction;
  const answered = Object.hasOwn(probabilities, label) && hasSpeech(prediction);
  const labels = answered ? nearest(prediction, unsure ? 2 : 1) : [];
  return {
    says: answered ? sentence(prediction) : "No voice heard",
    labels,
    shares: labels.map((name) => probabilities[name]),
    probabilities: answered ? probabilities : {},
    segments: segments.filter((segment) => segment.end_s > since).map(row),
    warnings,
  };
};

/* The answer of a stream's newest window, and all that its state has to say. */
const newest = (state, since) => {
  // A pause between words may be wholly silent: the page itself says when it lasts too long.
  const warnings = state.level_dbfs < SILENT_DBFS ? [] : state.warnings;
  return answer({ ...state, warnings }, since);
};

/* How long a stream's speaker was heard, in seconds, how far that is trusted, from 0 to 1, and how often it
   began anew with another. */
const adaptation = ({ adapted_s, adaptation: trust, voice_changes }) =>
  ({ adapted_s, adaptation: trust, voice_changes });

/* The model that answers a stream, `instead` where it stands in for another, and as `voice` how it gets used to
   one: by itself (`adapts`), by neutral speech (`calibrates`); `fingerprint` names the model that such a voice
   belongs to. */
const about = async (predictor, instead) => {
  const prior = await predictor.prior;
  return {
    model: predictor.name,
    instead,
    voice: {
      adapts: Boolean(prior?.unlabelled),
      calibrates: Boolean(prior?.names.includes(NEUTRAL)),
      fingerprint: prior?.fingerprint || "",
    },
  };
};

/* The calls about live streams of one page.

   `models(name)` resolves to the Predictor of one of `names`, of which `shipped` answers unless it would come
   late on this machine: then `smallest` does. `services` are the LiveServices of the page, and `example()`
   resolves to 16-bit samples at 16 kHz of example voices. */
export class LiveCalls extends Calls {
  constructor({ models, speakerModel, example, services = new LiveServices(speakerModel),
    names = ["base", "compact"], shipped = "base", smallest = "compact" }) {
    super();
    Object.assign(this, { models, example, services, names, shipped, smallest });
  }

  /* The response of a call; a failure is the sentence `refused`, with `gone`: whether the stream that the request
     names is closed. */
  async call(request) {
    const response = await super.call(request);
    if (response.refused) response.gone = "stream" in request && !this.services.has(request.stream);
    return response;
  }

  onOpenLocal() {
    throw new UsageError(ONLY_HERE);
  }

  /* The model that answers a new stream, `wanted` where a name is given, and where it stands in for another, a
     sentence that says so. */
  async choose(wanted) {
    const { names, shipped, smallest } = this;
    if (names.includes(wanted)) return [await this.models(wanted), ""];
    const model = await this.models(shipped);
    const missing = wanted ? `${shipped} answers: ${wanted} is not in this browser.` : "";
    if (shipped === smallest || await this.services.keepsUp(model)) return [model, missing];
    const smaller = await this.models(smallest).catch(() => null); // without a network it may not be there
    return smaller ? [smaller, `${smallest} answers: ${shipped} would come late on this machine now.`] : [model, missing];
  }

  /* Opens a stream of sound at `rate` Hz; gives its handle as `stream`. With `adapt`, the model gets used to the
     voice; `model` names the one that is to answer. See `about` for what else it gives. */
  async onOpen(request) {
    const rate = field(request, "rate", "int");
    const [model, instead] = await this.choose(request.model);
    const stream = await this.services.of(model).open(rate, { adapt: request.adapt === true });
    return { stream, ...await about(model, instead) };
  }

  /* The handle of a request's stream, and its service. */
  streamOf(request) {
    const stream = field(request, "stream", "string");
    return { stream, service: this.services.find(stream) };
  }

  async onAdapt(request) {
    const { stream, service } = this.streamOf(request);
    await service.setAdapting(stream, field(request, "adapt", "boolean"));
    return {};
  }

  /* What a stream knows of the speaker, for the page to hold; null where nothing is known. */
  onVoice(request) {
    const { stream, service } = this.streamOf(request);
    return { voice: service.speakerState(stream), ...adaptation(service.state(stream)) };
  }

  async onRestore(request) {
    const { stream, service } = this.streamOf(request);
    await service.setSpeakerState(stream, request.voice ?? null);
    return {};
  }

  async onForget(request) {
    const { stream, service } = this.streamOf(request);
    await service.setSpeakerState(stream, null);
    return {};
  }

  /* Takes the last seconds of a stream for the speaker's neutral voice. */
  async onCalibrate(request) {
    const { stream, service } = this.streamOf(request);
    const warnings = await service.calibrate(stream);
    return { warnings, ...adaptation(service.state(stream)) };
  }

  /* Adds the piece `sequence` to a stream, 16-bit mono `samples`; gives the stream's state, with the
     segments that end after `since` seconds. */
  async onPush(request) {
    const { samples } = request;
    if (!(samples instanceof Int16Array)) throw new UsageError("The samples are no 16-bit sound: reload the page.");
    const sequence = field(request, "sequence", "int");
    const since = field(request, "since", "number");
    const { stream, service } = this.streamOf(request);
    const arrived = service.now();
    service.push(stream, samples, sequence);
    await service.flush(stream, ANSWER_S);
    return this.state(stream, since, arrived);
  }

  /* Closes a stream. With `since`, gives the answer for all of it, and how many samples that were. */
  async onClose(request) {
    const stream = field(request, "stream", "string");
    if ("since" in request) {
      const service = this.services.find(stream);
      await service.flush(stream, FLUSH_S);
      const received = service.state(stream).received_samples;
      const whole = await service.finish(stream, { timeoutS: Infinity }); // nobody else waits
      return { ...answer(whole, field(request, "since", "number")), received };
    }
    if (this.services.has(stream)) this.services.find(stream).close(stream);
    return {};
  }

  /* Example voices one after another, as 16-bit samples in base64 at 16 kHz. */
  async onExample() {
    return { samples: toBase64(await this.example()), rate: SAMPLE_RATE };
  }

  /* The newest answer of a stream, with the warnings of the time `now`, its counts, and how many streams there
     are. */
  state(stream, since, now) {
    const state = this.services.find(stream).state(stream, now);
    return {
      ...newest(state, since),
      ...adaptation(state),
      speech: state.is_speaking,
      received_s: state.received_s,
      received: state.received_samples,
      delay_s: state.delay_s,
      scored: state.n_scored,
      skipped: state.n_skipped,
      streams: this.services.size,
    };
  }
}
