/* Recognise without a server: drop zone, recorder, examples and answers of one page. */
import { BrowserAnswers } from "./answering.js";
import { dropZone } from "../drop.js";
import { mountRecorder } from "../recorder.js";
import { EXAMPLE_ORIGIN, answersIn, exampleOf } from "../result.js";

/* Connects the elements `drop`, `recorder`, `examples` (with a button for each) and `result`. Answers come
   from `models`, BrowserModels, by the model that `modelName()` names; `addresses` are those of the example
   recordings by their labels, of which the first is answered at once. Resolves once it is. */
export const mountRecognise = ({ drop, recorder, examples, result, models, modelName, addresses }) => {
  const show = answersIn(result, () => answers.stop());
  const answers = new BrowserAnswers({ models: async () => models, modelName, show });
  const answerExample = (label) => {
    const url = new URL(addresses[label], document.baseURI);
    return answers.answer([{ name: label, url }], { origin: EXAMPLE_ORIGIN });
  };
  // Not waited for: what is dropped meanwhile ends the request before it.
  dropZone(drop, (files, { samePerson }) => { answers.answer(files, { samePerson }); });
  mountRecorder(recorder, (take) => answers.answer([take]));
  examples.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button) answerExample(exampleOf(button, addresses));
  });
  return answerExample(Object.keys(addresses)[0]);
};
