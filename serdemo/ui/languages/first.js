/* Runs before anything is drawn: the language of the page, chosen in its header or the browser's, and the
   direction of its text. gradio takes the navigator's language for its own texts. */
(function () {
  var known = ["en", "de", "es", "zh", "ar"];
  var root = document.documentElement;
  var wanted = Array.prototype.slice.call(navigator.languages || [navigator.language]);
  try {
    wanted.unshift(localStorage.getItem("serdemo-language"));
  } catch (error) {} // a browser may keep nothing
  wanted = wanted.map(function (tag) { return String(tag).split("-")[0].toLowerCase(); });
  var language = wanted.filter(function (tag) { return known.indexOf(tag) >= 0; })[0] || "en";
  root.lang = language === "zh" ? "zh-CN" : language;
  root.dir = language === "ar" ? "rtl" : "ltr";
  Object.defineProperty(navigator, "language", { value: root.lang, configurable: true });
}());
