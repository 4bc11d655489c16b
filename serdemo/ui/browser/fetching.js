/* Files that the browser loads for its own answers. */
import { SerdemoError } from "./errors.js";

const GZIP = [0x1f, 0x8b];

/* Bytes (Uint8Array) of the file at `url`. `onBytes(n)` is called as each n bytes of it arrive. Raises
   SerdemoError where it cannot be loaded. */
export const fetchBytes = async (url, onBytes = () => {}) => {
  const name = decodeURIComponent(new URL(url).pathname.split("/").at(-1));
  try {
    const response = await fetch(url);
    if (!response.ok) throw new SerdemoError(`${name} is not there (${response.status}): reload the page.`);
    return await readAll(response.body, onBytes);
  } catch (error) {
    if (error instanceof SerdemoError) throw error;
    throw new SerdemoError(`${name} could not be loaded: check the connection, then try again.`);
  }
};

const readAll = async (body, onBytes) => {
  const parts = [];
  let size = 0;
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    onBytes(value.length);
  }
  const bytes = new Uint8Array(size);
  for (let at = 0; parts.length; ) {
    const part = parts.shift();
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
};

/* Content of a gzip file. Some servers unpack one on its way: other bytes are returned as they are. */
export const gunzip = async (bytes) => {
  if (GZIP.some((value, at) => bytes[at] !== value)) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return readAll(stream, () => {});
};
