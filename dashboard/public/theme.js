// Sets the theme before the first paint. It is a file of its own because the page's policy allows no inline script.
(function () {
  try {
    var prefs = JSON.parse(localStorage.getItem('meshward.prefs') || '{}');
    var root = document.documentElement;
    if (prefs.theme === 'light' || prefs.theme === 'dark') root.setAttribute('data-theme', prefs.theme);
    if (prefs.contrast === 'more') root.setAttribute('data-contrast', 'more');
  } catch (_) {
    // Storage may be forbidden; then the system's theme holds.
  }
})();
