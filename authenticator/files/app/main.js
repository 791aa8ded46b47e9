// The app: which screen is shown, and what changes it.

import { showAccounts } from "./screen_accounts.js";
import { showAdd, showDigits, showInstall } from "./screen_add.js";
import { showRequest } from "./screen_request.js";
import { isInstalled, isIOS } from "./device.js";
import { listen } from "./listening.js";
import { linked } from "./scanner.js";
import { open } from "./requests.js";
import { accounts } from "./storage.js";
import { tick } from "./screen.js";

// What the screens may do.
const app = { home, go, refresh, busy: false };

let stopListening = () => {};
let asking = null; // a refresh that is under way
let chosen = null; // id of the request that a link named
let notice = ""; // text that the accounts show until the person goes elsewhere

// home shows an open request, or the accounts.
async function home() {
	app.busy = false;
	notice = "";
	const all = await accounts();
	const pairing = all.find(({ state }) => state === "pairing");
	if (pairing) {
		app.busy = true;
		return showDigits(app, pairing);
	}
	await showAccounts(app, all);
	if (document.hidden) {
		return;
	}
	stopListening();
	stopListening = listen(refresh);
	if (!all.some(({ state }) => state === "active")) {
		return;
	}
	await refresh();
}

// refresh asks for open requests, and shows one unless something else is under way.
function refresh() {
	asking ??= find().finally(() => {
		asking = null;
	});
	return asking;
}

async function find() {
	let requests;
	try {
		requests = await open();
	} catch {
		app.offline = true;
		if (!app.busy) {
			await showAccounts(app, await accounts());
		}
		return;
	}
	app.offline = false;
	if (app.busy) {
		return;
	}
	const request = requests.find(({ display }) => display.id === chosen) ?? requests[0];
	if (chosen !== null && request?.display.id !== chosen) {
		notice = "requests.answered";
	}
	chosen = null;
	if (request) {
		app.busy = true;
		showRequest(app, request);
	} else {
		await showAccounts(app, await accounts(), notice);
	}
}

// go follows a link to the app.
async function go(address) {
	const link = linked(address);
	if (link?.pairing) {
		app.busy = true;
		return isIOS() && !isInstalled() ? showInstall(app) : showAdd(app, { token: link.pairing });
	}
	chosen = link?.request ?? null;
	return home();
}

// follow takes the link out of the address, which is shown and kept in the history.
function follow() {
	const address = location.href;
	history.replaceState(null, "", "/");
	return go(address);
}

async function registerWorker() {
	if (!("serviceWorker" in navigator)) {
		return;
	}
	navigator.serviceWorker.addEventListener("message", ({ data }) => go(new URL(data.open, location.origin).href));
	const hadWorker = navigator.serviceWorker.controller !== null;
	navigator.serviceWorker.addEventListener("controllerchange", () => {
		if (hadWorker && !app.busy) {
			location.reload();
		}
	});
	const registration = await navigator.serviceWorker.register("/sw.js", { updateViaCache: "none" });
	const replace = () => {
		if (registration.waiting && hadWorker && !app.busy) {
			registration.waiting.postMessage("take over");
		}
	};
	replace();
	registration.addEventListener("updatefound", () => {
		registration.installing?.addEventListener("statechange", replace);
	});
}

document.addEventListener("visibilitychange", () => {
	if (document.hidden) {
		stopListening();
	} else if (!app.busy) {
		home();
	}
});
window.addEventListener("online", () => !app.busy && home());
window.addEventListener("hashchange", follow);
setInterval(tick, 1000);

registerWorker().catch(() => {}); // without it, the app works online alone
await follow();
