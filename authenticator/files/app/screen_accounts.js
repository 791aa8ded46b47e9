// The accounts with their codes, and what is to be known of the app.

import { canNotify, subscription, tell, turnOn, vapidKey } from "./notifications.js";
import { button, element } from "./element.js";
import { isInstalled, isIOS } from "./device.js";
import { say, show } from "./screen.js";
import { forget, setting, set } from "./storage.js";
import { ahead, ask } from "./server.js";
import { codeAt, grouped, secondsLeft } from "./totp.js";
import { markRemoved } from "./requests.js";
import { showAdd, showInstall, showScanner } from "./screen_add.js";
import { recent, reportButton } from "./screen_request.js";
import { text } from "./texts.js";

const tolerated = 30; // seconds by which a phone's clock may be off

export async function showAccounts(app, all, notice = "") {
	const codes = [];
	const nodes = [
		element("h1", {}, text("accounts.title")),
		notice ? note(text(notice)) : null,
		app.offline ? note(text("accounts.offline")) : null,
		clockNote(),
		await allowedNote(app, all),
		...all.map((account) => (account.state === "removed" ? removedNote(app, account) : entry(app, account, codes))),
		all.length === 0 ? element("p", {}, text("accounts.none")) : null,
		...(await offers(app, all)),
		actions(app),
	];
	if (app.busy) {
		return; // meanwhile, the person has gone to another screen
	}
	show("accounts", text("accounts.title"), nodes, { onSecond: () => codes.forEach((update) => update()) });
}

export const note = (said, ...more) => element("div", { class: "note" }, element("p", {}, said), ...more);

function clockNote() {
	const seconds = ahead();
	if (seconds === null || Math.abs(seconds) <= tolerated) {
		return null;
	}
	const minutes = Math.max(1, Math.round(Math.abs(seconds) / 60));
	return note(text(seconds > 0 ? "accounts.clock_fast" : "accounts.clock_slow", { Minutes: minutes }));
}

async function allowedNote(app, all) {
	const request = await recent(all);
	return request && note(text("accounts.allowed", { App: request.display.app || request.account.name }), reportButton(app, request));
}

function removedNote(app, account) {
	return note(
		text("accounts.removed", { Account: account.name }),
		button(text("accounts.dismiss"), "secondary", async () => {
			await forget(account);
			await app.home();
		}),
	);
}

// entry is an account with its code. Only when the code changes does anything but the
// countdown change.
function entry(app, account, codes) {
	const code = element("output", { class: "code", "aria-live": "off" });
	const left = element("meter", { min: 0, max: account.totp?.period ?? 30, "aria-label": text("accounts.left") });
	let step = -1;
	codes.push(async () => {
		if (!account.totp) {
			return;
		}
		const now = Date.now();
		left.value = secondsLeft(account.totp, now);
		const current = Math.floor(now / 1000 / account.totp.period);
		if (current !== step) {
			step = current;
			code.textContent = grouped(await codeAt(account.totp, now));
		}
	});
	const remove = button(text("accounts.remove"), "quiet", () => askRemove(app, account));
	const name = `account-${codes.length}`;
	remove.setAttribute("aria-describedby", name);
	return element("section", { class: "account" },
		element("h2", { id: name }, element("bdi", {}, account.name)),
		account.unknown ? element("p", { class: "state" }, text("accounts.unknown")) : null,
		account.totp ? code : null,
		account.totp ? left : null,
		remove,
	);
}

// askRemove says what removing an account means, before the button.
function askRemove(app, account) {
	app.busy = true;
	show("remove", text("remove.title"), [
		element("h1", {}, text("remove.title")),
		element("p", {}, text("remove.text", { Account: account.name })),
		button(text("remove.button"), "danger", async () => {
			try {
				await ask("leave", account);
			} catch (failure) {
				if (failure.status !== 410) {
					return show("remove", text("remove.title"), [
						element("h1", {}, text("remove.title")),
						element("p", { role: "alert" }, text("remove.failed")),
						button(text("common.back"), "secondary", app.home),
					]);
				}
			}
			await markRemoved(account);
			await forget(account);
			await app.home();
		}),
		button(text("common.cancel"), "secondary", app.home),
	]);
}

// offers are what the person can still switch on, each by a tap of its own.
async function offers(app, all) {
	const active = all.filter(({ state }) => state === "active");
	if (active.length === 0) {
		return [];
	}
	return [await offerNotifications(app, active), await offerKeeping(app)];
}

async function offerNotifications(app, active) {
	if (!canNotify()) {
		return isIOS() && !isInstalled() ? null : note(text("notifications.none"));
	}
	if (Notification.permission === "denied") {
		return note(text("notifications.denied"));
	}
	if (await subscription()) {
		return null;
	}
	const key = await vapidKey();
	if (!key) {
		return null;
	}
	return note(text("notifications.offer"), button(text("notifications.button"), "secondary", async () => {
		try {
			if (await turnOn(key)) {
				await Promise.all(active.map(tell));
				say(text("notifications.on"));
			}
		} catch {
			say(text("notifications.failed"));
		}
		await app.home();
	}));
}

async function offerKeeping(app) {
	if (!navigator.storage?.persist || (await navigator.storage.persisted()) || (await setting("persist asked"))) {
		return null;
	}
	return note(text("keeping.offer"), button(text("keeping.button"), "secondary", async () => {
		const kept = await navigator.storage.persist();
		await set("persist asked", true);
		say(text(kept ? "keeping.on" : "keeping.refused"));
		await app.home();
	}));
}

function actions(app) {
	const add = () => {
		app.busy = true;
		return isIOS() && !isInstalled() ? showInstall(app) : showAdd(app, {});
	};
	return element("div", { class: "actions" },
		button(text("accounts.scan"), "primary", () => {
			app.busy = true;
			return showScanner(app);
		}),
		button(text("accounts.add"), "secondary", add),
	);
}
