/* Recordings answered in this browser: each is decoded here and scored by a worker, and none is sent. */
import { MAX_VALUES, decodeFile } from "../../browser/decoding.js";
import { SerdemoError } from "../../browser/errors.js";
import { fetchBytes } from "../../browser/fetching.js";
import { pageOf, refused } from "../answers.js";
import { clock, waveLevels } from "../timeline.js";

export const MAX_FILES = 50;
const LONG_S = 300; // of a longer recording it is shown how far it is
const SUBTITLES = /\.(srt|vtt)$/i;
const FAULT = "Something went wrong while this browser answered: try another recording.";
const NO_SUBTITLES = "gets no answer in this browser, only on a server: drop the recording alone.";
const TOO_MUCH = "was left out, as this browser holds no more sound at once: drop fewer or shorter files.";
export const SAME_PERSON = "Tick this if one person speaks in all of these files: the answers get used to the voice.";
const NO_TWO = "There were no two files with speech to get used to.";

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

/* Answers files by `models`, a function that resolves to BrowserModels, with the model that `modelName()`
   names; `show(page)` gets pages as answers.js draws them. A new request ends the one before. */
export class BrowserAnswers {
  constructor({ models, modelName, show }) {
    Object.assign(this, { models, modelName, show });
    this.running = new AbortController();
    this.addresses = [];
  }

  /* Ends after the answers so far, which are shown. */
  stop() {
    this.running.abort();
  }

  /* Ends without a page, as another answer is shown. */
  cancel() {
    this.running.abort();
    this.running = new AbortController();
  }

  /* Answers files, Files or examples { name, url }; `origin` says where they come from, `note` what there is to
     know of the request. With `samePerson` they are taken as one voice. */
  async answer(files, { samePerson = false, origin = "", note = "" } = {}) {
    this.cancel();
    const { running } = this;
    const page = await this.pageFor(files.slice(0, MAX_FILES), { samePerson, origin, note, running })
      .catch((error) => {
        if (!(error instanceof SerdemoError)) console.error(error);
        const sentence = error instanceof SerdemoError ? error.message : FAULT;
        return pageOf({ answers: [refused("", sentence)] });
      });
    const isLatest = this.running === running;
    const addresses = page.answers.map(({ sound }) => sound).filter(Boolean);
    for (const address of isLatest ? this.addresses : addresses) URL.revokeObjectURL(address);
    if (!isLatest) return;
    this.addresses = addresses;
    if (files.length > MAX_FILES) {
      page.note = `${files.length - MAX_FILES} files were left out: drop at most ${MAX_FILES} at once. ${page.note}`.trim();
    }
    this.show(page);
  }

  async pageFor(files, request) {
    const { signal } = request.running;
    this.wait(files, 0, request);
    const models = await this.models();
    const model = this.modelName();
    const hasBox = files.length > 1 && models.adapts(model);
    if (hasBox && request.samePerson) return this.togetherPage(files, models, model, request);
    const answers = [];
    for (const [index, file] of files.entries()) {
      this.wait(files, index, request);
      const onProgress = (progress) => this.wait(files, index, request, progress);
      const answer = await this.one(file, request.origin, (decoded) =>
        models.recognise(decoded, onProgress, { model, signal }));
      if (signal.aborted) break;
      answers.push(answer);
    }
    const stopped = answers.length < files.length
      ? `Stopped after ${answers.length} of ${files.length} file${files.length > 1 ? "s" : ""}.` : "";
    const note = [request.note, stopped].filter(Boolean).join(" ");
    if (!answers.length) return pageOf({ answers: [refused("", note)] });
    return pageOf({ answers, note, same_person: hasBox ? { ticked: false, note: SAME_PERSON } : null });
  }

  /* All files as one voice. */
  async togetherPage(files, models, model, request) {
    const { origin, note, running: { signal } } = request;
    const sounds = [];
    let values = 0; // all of them are held at once
    for (const file of files) {
      if (signal.aborted) break;
      const sound = await decoded(file).catch((error) => ({ refusal: sentenceOf(error) }));
      for (const { length } of sound.channels ?? []) values += length;
      sounds.push(values > MAX_VALUES ? { refusal: `${file.name} ${TOO_MUCH}` } : sound);
    }
    const onProgress = (progress) => this.wait(files, 0, request, progress);
    const options = { model, samePerson: true, signal };
    const { answers, speechS } = await models.recogniseAll(sounds, onProgress, options);
    const used = speechS ? `Used to this voice by ${speechS.toFixed(0)} s of its speech.` : NO_TWO;
    return pageOf({
      answers: answers.map((answer, i) => answered(files[i], answer, origin)),
      note,
      same_person: { ticked: true, note: used },
    });
  }

  /* The answer to one file by `recognise(decoded)`; a refusal is an answer too. */
  async one(source, origin, recognise) {
    const { name, url } = source;
    try {
      const file = url ? new File([await fetchBytes(url)], name) : source;
      return answered(file, await recognise(await decoded(file)), origin);
    } catch (error) {
      return refused(name, sentenceOf(error), origin);
    }
  }

  /* Shows how far a request is, which is worth a Stop where something is loaded or long. */
  wait(files, index, { running }, { unit, done, total } = {}) {
    if (running.signal.aborted) return;
    const { name } = files[index];
    const several = files.length > 1;
    let text = `Listening to ${name}${several ? ` (${index + 1} of ${files.length})` : ""}`;
    let share = null;
    if (unit === "bytes" && done < total) {
      text = `Loading the model: ${megabytes(done)} of ${megabytes(total)} MB`;
      share = done / total;
    } else if (unit === "seconds" && total > LONG_S) {
      if (!several) text += `: ${clock(done)} of ${clock(total)}`;
      share = done / total;
    }
    this.show(pageOf({ waiting: { text, done: index, total: files.length, share } }));
  }
}

const decoded = async (file) => {
  if (SUBTITLES.test(file.name)) throw new SerdemoError(`${file.name} ${NO_SUBTITLES}`);
  return decodeFile(file);
};

const sentenceOf = (error) => {
  if (error instanceof SerdemoError) return error.message;
  throw error;
};

/* An answer of the page, from { recording, prediction } or { refusal } of the worker. */
const answered = (file, { recording, prediction, refusal }, origin) => {
  if (refusal) return refused(file.name, refusal, origin);
  const { samples, durationS } = recording;
  return {
    name: file.name,
    refusal: "",
    origin,
    prediction,
    duration_s: durationS,
    levels: waveLevels(samples, durationS),
    sound: URL.createObjectURL(file),
    cues: [],
  };
};
