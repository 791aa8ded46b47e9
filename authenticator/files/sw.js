// Keeps one release of the app, so that codes are shown offline, and shows notifications.
// The server puts the release before this: its version, and the names of its files.

const cacheName = `portcullis-${release.version}`;

self.addEventListener("install", (event) => {
	const files = release.files.map((name) => new Request(name, { cache: "no-cache" }));
	event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(files)));
});

self.addEventListener("activate", (event) => {
	event.waitUntil(
		(async () => {
			const names = await caches.keys();
			await Promise.all(names.filter((name) => name !== cacheName).map((name) => caches.delete(name)));
			await self.clients.claim();
		})(),
	);
});

// The page says when nothing is under way that a new release could interrupt.
self.addEventListener("message", (event) => {
	if (event.data === "take over") {
		self.skipWaiting();
	}
});

self.addEventListener("fetch", (event) => {
	const url = new URL(event.request.url);
	if (event.request.method !== "GET" || url.origin !== location.origin || !release.files.includes(url.pathname)) {
		return;
	}
	event.respondWith(
		(async () => {
			const cache = await caches.open(cacheName);
			return (await cache.match(url.pathname)) ?? fetch(event.request);
		})(),
	);
});

// Every push shows a notification, and nothing is fetched before it: phones withdraw the
// subscription of an app that doesn't.
self.addEventListener("push", (event) => {
	let told = {};
	try {
		told = event.data.json().notification ?? {};
	} catch {
		// Something is shown all the same.
	}
	const target = new URL(told.navigate ?? "/", location.origin);
	event.waitUntil(
		self.registration.showNotification(told.title ?? release.name, {
			body: told.body ?? "",
			icon: "/icons/192.png",
			tag: target.hash || "portcullis",
			renotify: true,
			data: target.origin === location.origin ? target.pathname + target.hash : "/",
		}),
	);
});

self.addEventListener("notificationclick", (event) => {
	event.notification.close();
	event.waitUntil(
		(async () => {
			const [open] = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
			if (!open) {
				return self.clients.openWindow(event.notification.data);
			}
			open.postMessage({ open: event.notification.data });
			return open.focus();
		})(),
	);
});
