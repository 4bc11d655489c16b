/* gradio times its loading screen at every frame, and goes on for ever once the screen is gone: on a page
   where nothing moves that takes a tenth of a slow processor. While nothing loads, its timers rest. */
(() => {
  const TIMER = /performance\.now\(\)-.*\/1e3/;
  const REST_MS = 250;
  const isLoading = () => document.querySelector("[data-testid=status-tracker]:not(.hide)");
  const request = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) =>
    TIMER.test(String(callback)) && !isLoading()
      ? setTimeout(() => request(callback), REST_MS)
      : request(callback);
})();
