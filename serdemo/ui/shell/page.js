/* Behaviour of the whole page. Answers are replaced as a whole, so everything listens at the
   document and starts from the element that was pressed. */
import { clock } from "./js/dom.js";
import { listenToKeyboard } from "./js/keyboard.js";
import { mendMarkup } from "./js/markup.js";

/* Browsers level and clean the microphone by default, and loudness is a cue of emotion: for every
   script of the page the default is the raw sound. */
const askForRawSound = () => {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) return;
  const getUserMedia = devices.getUserMedia.bind(devices);
  const raw = { autoGainControl: false, noiseSuppression: false, echoCancellation: false };
  devices.getUserMedia = (constraints) => {
    if (!constraints?.audio) return getUserMedia(constraints);
    const audio = constraints.audio === true ? {} : constraints.audio;
    return getUserMedia({ ...constraints, audio: { ...raw, ...audio } });
  };
};

/* When the connection broke under an event of gradio's, gradio asks for the app's id until it is
   back, then reloads the page. That waits while Live listens, or shows its last minute. */
const deferReload = () => {
  const fetch = window.fetch.bind(window);
  window.fetch = async (...request) => {
    const response = await fetch(...request);
    const live = document.querySelector(".sd-live[data-kept]");
    const inUse = live && (live.dataset.state !== "idle" || live.offsetParent);
    if (!inUse || !response.url.endsWith("/app_id")) return response;
    live.dispatchEvent(new Event("sd-waiting"));
    throw new TypeError("The page is not to be reloaded yet.");
  };
};

/* Where gradio lets no more calls wait, the tabs learn which was refused: `detail` has the `props` of the
   component that it came from, its `data`, the values that it was called with, and its `event`, what came
   with that, such as the files of an upload. */
const noticeFullServer = () => {
  const fetch = window.fetch.bind(window);
  window.fetch = async (...request) => {
    const response = await fetch(...request);
    if (response.status === 503 && new URL(response.url).pathname.endsWith("/queue/join")) {
      const { trigger_id: trigger, event_data: event, data } = JSON.parse(request[1].body);
      const { props = {} } = window.gradio_config.components.find(({ id }) => id === trigger) || {};
      dispatchEvent(new CustomEvent("sd-server-full", { detail: { props, data, event } }));
    }
    return response;
  };
};

const timelineOf = (node) => node.closest?.(".sd-timeline");

/* Shows the player's position, and returns whether it moves; a newer answer may have removed it. */
const showPosition = (timeline) => {
  const audio = timeline.querySelector("audio");
  if (!audio) return false;
  const share = Math.min(1, audio.currentTime / Number(timeline.dataset.duration));
  timeline.querySelector(".sd-playhead").style.left = `${100 * share}%`;
  const start = Number(timeline.dataset.start || 0);
  timeline.querySelector("[data-now]").textContent = clock(start + audio.currentTime);
  timeline.classList.toggle("sd-playing", !audio.paused);
  timeline.querySelector(".sd-play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  return timeline.isConnected && !audio.paused;
};

const followPosition = (timeline) => {
  if (showPosition(timeline)) requestAnimationFrame(() => followPosition(timeline));
};

const play = async (timeline, start) => {
  const audio = timeline.querySelector("audio");
  if (!audio) return;
  document.querySelectorAll(".sd-timeline audio").forEach((other) => {
    if (other !== audio) other.pause();
  });
  if (start !== undefined) audio.currentTime = start;
  await audio.play().catch(() => {});
  followPosition(timeline);
};

/* Shows the answer for one of several files. */
const pick = (button) => {
  const answers = button.closest(".sd-answers");
  answers.querySelectorAll("[data-pick]").forEach((other) => {
    other.setAttribute("aria-pressed", String(other === button));
  });
  answers.querySelectorAll(".sd-detail").forEach((detail) => {
    const chosen = detail.dataset.index === button.dataset.pick;
    detail.hidden = !chosen;
    if (!chosen) detail.querySelectorAll("audio").forEach((audio) => audio.pause());
  });
};

const onClick = (event) => {
  const button = event.target.closest(".sd-span, .sd-spans, [data-act=play], [data-pick]");
  if (!button) return;
  if (button.dataset.pick !== undefined) return pick(button);
  const timeline = timelineOf(button);
  if (button.dataset.act === "play") {
    const audio = timeline.querySelector("audio");
    return audio.paused ? play(timeline) : audio.pause();
  }
  // A pointer names the very moment; the keyboard names the stretch.
  const box = timeline.querySelector(".sd-spans").getBoundingClientRect();
  const pointed = ((event.clientX - box.left) / box.width) * Number(timeline.dataset.duration);
  play(timeline, event.detail ? Math.max(0, pointed) : Number(button.dataset.start));
};

/* The stretches are one stop of the Tab key; arrows move within. */
const onKeydown = (event) => {
  const span = event.target.closest?.(".sd-span");
  const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
  const next = span && step && span[step];
  if (!next) return;
  event.preventDefault();
  span.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
};

export const mount = () => {
  askForRawSound();
  deferReload();
  noticeFullServer();
  listenToKeyboard();
  mendMarkup();
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKeydown);
  for (const kind of ["pause", "ended", "seeked"]) {
    document.addEventListener(kind, (event) => {
      const timeline = timelineOf(event.target);
      if (timeline) showPosition(timeline);
    }, true);
  }
};
