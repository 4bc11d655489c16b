/* What answers in a browser's worker, run by node: a line of JSON { service, request } on the standard input gets
   one of { response } or { error } on the standard output. The first line is what Services is made from. The sound
   of a recording comes as base64 of 32-bit floats, a piece for Live as that of 16-bit integers. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Services } from "./ui/browser/services.js";

globalThis.fetch = async (url) => new Response(readFileSync(fileURLToPath(url)));

const floats = (text) => new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer);

const recording = (sent) => ({ ...sent, channels: sent.channels.map(floats) });

const integers = (text) => new Int16Array(new Uint8Array(Buffer.from(text, "base64")).buffer);

const decoded = (service, { recordings, sounds, sound, samples, ...request }) => ({
  ...request,
  ...(samples !== undefined && { samples: service === "live" ? integers(samples) : samples }),
  ...(recordings && { recordings: recordings.map(recording) }),
  ...(sounds && { sounds: sounds.map(recording) }),
  ...(sound && { sound: recording(sound) }),
});

/* Numbers of typed arrays as plain lists; the samples of recordings are left out. */
const plain = (key, value) => {
  if (!ArrayBuffer.isView(value)) return value;
  return key === "samples" ? undefined : Array.from(value);
};

let services;
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (!services) {
    services = new Services(message);
    continue;
  }
  let answer;
  try {
    const job = { cancelled: false, progress() {} };
    const response = await services.answer(message.service, decoded(message.service, message.request), job);
    answer = { response };
  } catch (error) {
    answer = { error: error.message };
    console.error(error);
  }
  process.stdout.write(`${JSON.stringify(answer, plain)}\n`);
}
