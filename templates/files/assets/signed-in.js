// Ends a sign-in that was begun in a new tab: pages of the app that wait for it
// are told, and the tab closes if it was opened for nothing else. Whoever listens
// asks the server what is true.

new BroadcastChannel("mfa-signed-in").postMessage("");
if (location.search === "?close") {
	close();
}
