/* Runs before anything is drawn, and in browsers that know no modules, so it is written for them: light or
   dark, and a sentence where the page cannot work at all. */
(function () {
  var root = document.documentElement;
  var wanted = /[?&]__theme=(dark|light)\b/.exec(location.search); // as the Hub asks a Space for it
  var scheme = window.matchMedia("(prefers-color-scheme: dark)");
  var trouble = "";

  function paint() {
    var dark = wanted ? wanted[1] === "dark" : scheme.matches;
    root.className = root.className.replace(/ ?\bdark\b/, "") + (dark ? " dark" : "");
  }

  function show() {
    var place = document.getElementById("sd-trouble");
    if (!place || !trouble) return;
    place.textContent = trouble;
    root.className += " sd-broken";
  }

  function fail(sentence) {
    trouble = trouble || sentence;
    show();
  }

  paint();
  if (scheme.addEventListener) scheme.addEventListener("change", paint);
  if (location.protocol === "file:") {
    fail("Opened as a file this page cannot run: run \"python -m http.server\" in its folder, then open "
      + "http://localhost:8000.");
  } else if (!("noModule" in document.createElement("script"))) {
    fail("This browser is too old for this page: open it in a current Chrome, Edge, Firefox or Safari.");
  }
  window.addEventListener("error", function (event) {
    if (event.target && event.target.tagName === "SCRIPT") {
      fail("A part of this page did not arrive: check the connection, then load the page again.");
    }
  }, true);
  document.addEventListener("DOMContentLoaded", show);
}());
