// Notifications by Web Push. One subscription serves all accounts of the app.

import { base64url, fromBase64url, sha256, utf8 } from "./bytes.js";
import { ask, fresh } from "./server.js";
import { amend } from "./storage.js";

export const canNotify = () => "PushManager" in window && "Notification" in window && "serviceWorker" in navigator;

export async function subscription() {
	if (!canNotify()) {
		return null;
	}
	const registration = await navigator.serviceWorker.getRegistration();
	return (await registration?.pushManager.getSubscription()) ?? null;
}

// described returns a subscription as the API takes it; null: there is none.
export function described(subscribed) {
	if (!subscribed) {
		return null;
	}
	return {
		endpoint: subscribed.endpoint,
		p256dh: base64url(subscribed.getKey("p256dh")),
		auth: base64url(subscribed.getKey("auth")),
	};
}

// digest identifies a subscription; empty: there is none.
export const digest = async (subscribed) => (subscribed ? base64url(await sha256(utf8(subscribed.endpoint))) : "");

// turnOn asks for permission, and subscribes. It is called on a tap and begins without
// waiting for anything, since browsers allow neither otherwise. It returns whether
// notifications are on.
export async function turnOn(vapid) {
	if (Notification.permission !== "granted" && (await Notification.requestPermission()) !== "granted") {
		return false;
	}
	const registration = await navigator.serviceWorker.ready;
	const options = { userVisibleOnly: true, applicationServerKey: fromBase64url(vapid) };
	try {
		await registration.pushManager.subscribe(options);
	} catch (failure) {
		if (failure.name !== "InvalidStateError") {
			throw failure;
		}
		// It is subscribed with another key of the server's.
		await (await registration.pushManager.getSubscription())?.unsubscribe();
		await registration.pushManager.subscribe(options);
	}
	return true;
}

// tell tells the server of an account where it can reach the phone.
export async function tell(account) {
	const subscribed = await subscription();
	await ask("subscribe", account, { subscription: described(subscribed) });
	await amend(account, { told: await digest(subscribed) });
}

// renew tells a server that doesn't know the subscription. If it has been told before, it
// has heard from the push service that the subscription is gone, whatever the browser says:
// then notifications are off, and can be turned on again.
export async function renew(account, subscribed) {
	if (account.told === (await digest(subscribed))) {
		await subscribed.unsubscribe();
		return;
	}
	await tell(account);
}

// vapidKey returns the key that notifications are signed with; empty: the server sends
// none, or can't be reached.
export const vapidKey = () => fresh().then(({ vapid }) => vapid, () => "");
