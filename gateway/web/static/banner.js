// Shows a banner while Headgate says that one is due. Embed it in any page:
// <script src="https://GATEWAY/status/banner.js" data-token="TOKEN" defer></script>
// It adds one element with the class "headgate-banner", as text, and follows it by itself.
(() => {
  "use strict";
  const RETRY_MS = 30_000;
  const script = document.currentScript;
  const base = new URL(".", script.src);
  const banner = document.createElement("div");
  banner.className = "headgate-banner";
  banner.setAttribute("role", "status");
  banner.hidden = true;
  const show = (told) => {
    banner.hidden = !told;
    banner.textContent = told ? told.text : "";
    banner.dataset.severity = told ? told.severity : "";
  };
  const follow = () => {
    const url = new URL("events", base);
    url.searchParams.set("token", script.dataset.token || "");
    const source = new EventSource(url);
    source.onmessage = (event) => show(JSON.parse(event.data).banner);
    source.onerror = () => {
      // A stream that was cut comes back by itself. One that was refused, as when the token is too
      // old, does not: what it last said may be long over. The page may have a new token meanwhile.
      if (source.readyState !== EventSource.CLOSED) return;
      show(null);
      setTimeout(follow, RETRY_MS);
    };
  };
  const start = () => {
    document.body.prepend(banner);
    follow();
  };
  document.body ? start() : addEventListener("DOMContentLoaded", start);
})();
