// While the app is open, it hears of requests over its own connection. The server ends
// each stream after less than a minute.

import { send } from "./server.js";
import { accounts } from "./storage.js";

const most = 4; // streams: browsers open six connections to a host over HTTP/1.1
const pause = 2000; // after a failure, in milliseconds
const longestPause = 30000;

// listen calls changed whenever there may be something new, until the returned function
// is called.
export function listen(changed) {
	const stop = new AbortController();
	accounts().then((all) => {
		for (const account of all.filter(({ state }) => state === "active").slice(0, most)) {
			follow(account, changed, stop.signal);
		}
	});
	return () => stop.abort();
}

async function follow(account, changed, signal) {
	let failures = 0;
	while (!signal.aborted) {
		try {
			const response = await send("listen", account, {}, signal);
			failures = 0;
			changed(); // what happened between two streams
			const reader = response.body.getReader();
			for (let part = await reader.read(); !part.done; part = await reader.read()) {
				changed();
			}
		} catch (failure) {
			if (failure.status === 410) {
				changed(); // which finds out that the account was removed
				return;
			}
			if (failure.status === 429) {
				changed(); // it asks instead, as long as there are too many streams
			}
			failures++;
			const wait = Math.max(Math.min(pause * 2 ** failures, longestPause), (failure.retryAfter ?? 0) * 1000);
			await new Promise((resolve) => setTimeout(resolve, wait));
		}
	}
}
