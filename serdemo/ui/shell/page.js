/* Behaviour of the whole page. Answers are replaced as a whole, so everything listens at the
   document and finds its place from the element that was pressed. */
(() => {
  "use strict";

  // Browsers level and clean the microphone by default, and loudness is an emotion's cue.
  const devices = navigator.mediaDevices;
  if (devices && devices.getUserMedia) {
    const open = devices.getUserMedia.bind(devices);
    const untouched = { autoGainControl: false, noiseSuppression: false, echoCancellation: false };
    devices.getUserMedia = (wanted) => {
      if (!wanted || !wanted.audio) return open(wanted);
      const audio = wanted.audio === true ? {} : wanted.audio;
      return open({ ...wanted, audio: { ...untouched, ...audio } });
    };
  }

  // When the connection broke under an event of gradio's, gradio asks for the app's id until it is
  // back, then loads the page anew. That waits while Live listens, or shows what it has heard.
  const reach = window.fetch.bind(window);
  window.fetch = async (asked, ...how) => {
    const answer = await reach(asked, ...how);
    const live = document.querySelector(".sd-live[data-kept]");
    const needed = live && (live.dataset.state !== "idle" || live.offsetParent);
    if (!needed || !answer.url.endsWith("/app_id")) return answer;
    live.dispatchEvent(new Event("sd-waiting"));
    throw new TypeError("The page is not to be loaded anew yet.");
  };

  const clock = (seconds) => {
    const tenths = Math.floor(seconds * 10);
    const whole = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
    return `${Math.floor(tenths / 600)}:${whole}.${tenths % 10}`;
  };

  const timelineOf = (node) => node.closest(".sd-timeline");

  // Returns whether there is more to follow; a newer answer may have taken the sound away.
  const show = (timeline) => {
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

  const follow = (timeline) => {
    if (show(timeline)) requestAnimationFrame(() => follow(timeline));
  };

  const play = async (timeline, start) => {
    const audio = timeline.querySelector("audio");
    if (!audio) return;
    document.querySelectorAll(".sd-timeline audio").forEach((other) => {
      if (other !== audio) other.pause();
    });
    if (start !== undefined) audio.currentTime = start;
    await audio.play().catch(() => {});
    follow(timeline);
  };

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

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".sd-span, [data-act=play], [data-pick]");
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
  });

  // The stretches are one stop of the Tab key; arrows move within.
  document.addEventListener("keydown", (event) => {
    const here = event.target.closest && event.target.closest(".sd-span");
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    if (!here || !step || !here[step]) return;
    event.preventDefault();
    here.tabIndex = -1;
    here[step].tabIndex = 0;
    here[step].focus();
  });

  for (const kind of ["pause", "ended", "seeked"]) {
    document.addEventListener(kind, (event) => {
      const timeline = event.target.closest && timelineOf(event.target);
      if (timeline) show(timeline);
    }, true);
  }
})();
