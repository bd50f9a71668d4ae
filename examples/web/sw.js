/**
 * Offline after the first load: the page's files from a cache that is named by their content; a
 * bundle's files are kept by the captioner itself. New content makes a new cache.
 */
const CONTENT = "content.json";

async function content() {
  const response = await fetch(CONTENT, { cache: "no-cache" });
  return response.json();
}

addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const { version, files } = await content();
      const cache = await caches.open(`edgecap-page-${version}`);
      await cache.addAll(["./", CONTENT, ...files]);
      await skipWaiting();
    })(),
  );
});

addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      const { version } = await content();
      for (const name of await caches.keys()) {
        if (name.startsWith("edgecap-page-") && name !== `edgecap-page-${version}`) await caches.delete(name);
      }
      await clients.claim();
    })(),
  );
});

/** From the network while there is one, so that a new version shows at once; else from the cache. */
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== location.origin) return;
  event.respondWith(
    fetch(request).catch(async () => (await caches.match(request, { ignoreSearch: true })) ?? Response.error()),
  );
});
