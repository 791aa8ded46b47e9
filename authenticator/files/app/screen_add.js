// Adding an account: by the link of a QR code, by a typed code, or by the app's scanner.
// The codes of requests are typed in the same place.

import { begin, proceed } from "./pairing.js";
import { button, element } from "./element.js";
import { linked, scan } from "./scanner.js";
import { modelName } from "./device.js";
import { codeLength, withCode } from "./requests.js";
import { forget } from "./storage.js";
import { Refused } from "./server.js";
import { show } from "./screen.js";
import { grouped } from "./totp.js";
import { text } from "./texts.js";

// showAdd asks for the code, unless a link brought a token, and for a name.
export function showAdd(app, { token }, problem = "") {
	const code = element("input", {
		id: "code", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", class: "code", maxlength: 16,
		"aria-describedby": problem ? "problem" : null, "aria-invalid": problem ? "true" : null,
	});
	const name = element("input", { id: "name", autocomplete: "off", maxlength: 60, value: modelName() });
	const typedCode = () => code.value.toUpperCase().replace(/[^A-Z0-9]/g, "");
	const nameField = field(name, text("add.name"));
	const hideName = () => {
		nameField.hidden = !token && typedCode().length <= codeLength;
	};
	hideName();
	code.addEventListener("input", hideName);
	const add = button(text("add.button"), "primary", async () => {
		const typed = typedCode();
		if (!token && !typed) {
			return code.focus();
		}
		if (!token && typed.length === codeLength) {
			return openRequest(app, typed);
		}
		let next;
		try {
			const account = await begin(token ? { token } : { code: typed }, name.value.trim() || text("add.unnamed"));
			next = () => showDigits(app, account);
		} catch (failure) {
			next = () => showAdd(app, {}, problemOf(failure));
		}
		return next();
	});
	const onEnter = ({ key }) => key === "Enter" && add.click();
	code.addEventListener("keydown", onEnter);
	name.addEventListener("keydown", onEnter);
	const title = text(token ? "add.title" : "add.enter");
	show("add", title, [
		element("h1", {}, title),
		element("p", {}, text(token ? "add.linked" : "add.lead")),
		token ? problemNote(problem) : field(code, text("add.code"), problemNote(problem)),
		nameField,
		add,
		token ? null : button(text("accounts.scan"), "secondary", () => showScanner(app)),
		button(text("common.cancel"), "quiet", app.home),
	]);
	if (problem) {
		code.focus();
	}
}

// openRequest opens the request whose code was typed.
async function openRequest(app, typed) {
	let id;
	try {
		id = await withCode(typed);
	} catch (failure) {
		return showAdd(app, {}, problemOf(failure));
	}
	return id ? app.go(`/#r=${id}`) : showAdd(app, {}, text("problems.request"));
}

// field is an input with its label, and what is said of it in between.
export const field = (input, label, ...said) =>
	element("div", { class: "field" }, element("label", { for: input.id }, label), ...said, input);

// problemNote says what is wrong; null: nothing is.
export const problemNote = (problem) => problem ? element("p", { id: "problem", class: "error", role: "alert" }, problem) : null;

// problemOf says what went wrong, and what to do.
export function problemOf(failure) {
	if (!(failure instanceof Refused)) {
		return text("problems.offline");
	}
	switch (failure.status) {
	case 404:
	case 410:
		return text("problems.over");
	case 409:
		return text("problems.used");
	case 429:
		return text("problems.often", { Minutes: Math.max(1, Math.ceil(failure.retryAfter / 60)) });
	}
	return text("problems.refused");
}

const between = 2000; // two questions whether the digits were typed, in milliseconds

// showDigits shows the six digits until they are typed on the computer.
export function showDigits(app, account) {
	let over = false;
	const status = element("p", { role: "status" }, text("digits.waiting"));
	show("digits", text("digits.title"), [
		element("h1", {}, text("digits.title")),
		element("p", {}, text("digits.lead")),
		element("p", { class: "number", translate: "no" }, grouped(account.digits)),
		status,
		button(text("common.cancel"), "quiet", async () => {
			over = true;
			await forget(account);
			await app.home();
		}),
	], {
		onLeave: () => {
			over = true;
		},
	});
	const ask = async () => {
		if (over) {
			return;
		}
		let outcome = "waiting";
		try {
			outcome = await proceed(account);
			status.textContent = text("digits.waiting");
		} catch (failure) {
			status.textContent = problemOf(failure);
		}
		if (over) {
			return;
		}
		if (outcome === "waiting") {
			setTimeout(ask, between);
			return;
		}
		showOutcome(app, account, outcome);
	};
	ask();
}

function showOutcome(app, account, outcome) {
	show("added", text(`added.${outcome}`), [
		element("h1", {}, text(`added.${outcome}`)),
		element("p", {}, text(`added.${outcome}_text`, { Account: account.name })),
		button(text("common.done"), "primary", app.home),
	]);
}

// showInstall explains, in Safari on an iPhone, that the app has to be on the home
// screen first: what Safari keeps, the app on the home screen doesn't see.
export function showInstall(app) {
	show("install", text("install.title"), [
		element("h1", {}, text("install.title")),
		element("p", {}, text("install.why")),
		element("ol", {}, ["one", "two", "three"].map((step) => element("li", {}, text(`install.step_${step}`)))),
		button(text("common.back"), "secondary", app.home),
	]);
}

// showScanner asks for the camera, and reads a code of this app.
export async function showScanner(app) {
	const video = element("video", { playsinline: true, muted: true, "aria-label": text("scan.picture") });
	const status = element("p", { role: "status" }, text("scan.lead"));
	const begun = navigator.mediaDevices?.getUserMedia
		? scan(video, (said) => {
			const link = linked(said);
			if (!link) {
				status.textContent = text("scan.foreign");
				return false;
			}
			app.go(said);
			return true;
		})
		: Promise.reject(new Error("there is no camera"));
	show("scan", text("scan.title"), [
		element("h1", {}, text("scan.title")),
		status,
		video,
		button(text("scan.type"), "secondary", () => showAdd(app, {})),
		button(text("common.cancel"), "quiet", app.home),
	], { onLeave: () => begun.then((end) => end(), () => {}) });
	try {
		await begun;
	} catch {
		video.remove();
		status.textContent = text("scan.unable");
	}
}
