//! The page that shows the clock: what a newcomer sees first of a guard without any configuration.
//!
//! One constant text that asks for nothing but the image. It is the same for everybody and knows nothing of the guard.

/// What the page may load: its own image, and the style and script that stand in it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page.
///
/// The script asks for the image only when the page has loaded, since a browser shows a page as loading for as long as an
/// image of it is; and asks anew when the image ends, since a browser would begin again with the first picture, and
/// so with a time long past. Without scripts the image is shown all the same.
pub const HTML: &str = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The time, kept standing by Seawall</title>
<link rel="icon" href="data:,">
<style>
:root {
  --ground: #f4f6f5; --sheet: #ffffff; --ink: #16303f; --faint: #546b78; --line: #d5dee1; --accent: #0b6a8b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #08171f; --sheet: #0f232e; --ink: #e8eef0; --faint: #9db2bc; --line: #21404f; --accent: #6cc6e4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem 1rem;
  background: var(--ground); color: var(--ink); font: 1.0625rem/1.6 system-ui, sans-serif;
}
main {
  width: 100%; max-width: 38rem; padding: clamp(1.25rem, 5vw, 2.5rem);
  background: var(--sheet); border: 1px solid var(--line); border-radius: 1rem;
}
.clock { aspect-ratio: 132 / 28; border-radius: .6rem; background: #0e2a3b; overflow: hidden; }
.clock img { display: block; width: 100%; height: 100%; image-rendering: pixelated; }
h1 { margin: 1.5rem 0 .5rem; font-size: 1.375rem; line-height: 1.25; }
p { margin: 0 0 1rem; }
h2 { margin: 1.75rem 0 .25rem; font-size: 1rem; }
dl { margin: 0; }
dt { margin-top: .75rem; }
dd { margin: 0; color: var(--faint); }
code {
  font: .9375em/1.5 ui-monospace, monospace; color: var(--accent); overflow-wrap: anywhere;
}
a { color: var(--accent); }
</style>
</head>
<body>
<main>
<div class="clock"><img id="clock" alt="The present time in UTC" width="132" height="28"><noscript><img
  src="/time.gif" alt="The present time in UTC" width="132" height="28"></noscript></div>
<h1>One image that never ends</h1>
<p>This is the time in UTC as a single GIF, sent a picture of some 46 bytes at a time, once a second, to everybody who
is watching. It is the site that <strong>Seawall</strong> guards until you give it one of your own.</p>
<h2>What to try next</h2>
<dl>
<dt><code>seawall drill cacert</code></dt>
<dd>Replays a real flood on this machine alone, and shows it being found and stopped.</dd>
<dt><a href="http://127.0.0.1:8081/">The status page</a></dt>
<dd>What the guard sees and does at this moment, where it was started without a configuration;
<code>seawall status</code> says the same in a terminal.</dd>
<dt><code>seawall serve --to http://127.0.0.1:3000 --host example.org</code></dt>
<dd>Guards a server of yours in place of this clock.</dd>
</dl>
</main>
<script>
(function () {
  "use strict";
  var image = document.getElementById("clock");
  function show() { image.src = "/time.gif?" + Date.now(); }
  function showAgain() { setTimeout(show, 1000 + Math.random() * 4000); }
  image.onload = showAgain;
  image.onerror = showAgain;
  addEventListener("load", function () { setTimeout(show, 0); });
})();
</script>
</body>
</html>
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_shows_the_image() {
        assert!(HTML.contains("/time.gif"));
        for loading in ["src=\"http", "url(", "@import", "<link rel=\"stylesheet\""] {
            assert!(!HTML.contains(loading), "{loading}");
        }
        assert!(!CONTENT_SECURITY_POLICY.contains(['\r', '\n']));
    }
}
