/* Calls of the page's scripts that this browser answers itself; mirrors shell/rpc.py. */
import { SerdemoError, UsageError } from "./errors.js";

export const FAULT =
  "Something went wrong on this page, and the browser's console says what: try once more.";

const methodName = (call) =>
  `on_${call}`.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

/* The calls of one tab: the method `onName(request)` answers the call "name". */
export class Calls {
  /* Resolves to the response of the call that `request.call` names; a failure is the sentence `refused`. */
  async call(request) {
    try {
      const name = field(request, "call", "string");
      const method = this[methodName(name)];
      if (!method) throw new UsageError(`There is no call '${name}': reload the page.`);
      return await method.call(this, request);
    } catch (error) {
      if (error instanceof SerdemoError) return { refused: error.message };
      console.error(error);
      return { refused: FAULT };
    }
  }
}

/* One value of a request, of the type that `typeof` names, or an "int"; throws UsageError for another. */
export const field = (request, name, kind) => {
  const value = request?.[name];
  if (kind === "int" ? !Number.isSafeInteger(value) : typeof value !== kind) {
    throw new UsageError(`This call needs ${name} of type ${kind}: reload the page.`);
  }
  return value;
};
