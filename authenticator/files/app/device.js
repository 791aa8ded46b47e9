// What the app runs on.

export const isIOS = () =>
	/iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);

export const isInstalled = () => matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;

// modelName suggests what a phone is called.
export function modelName() {
	const agent = navigator.userAgent;
	const android = /Android [^;)]*; ([^;)]+)/.exec(agent)?.[1];
	const named = [["iPhone", /iPhone/], ["iPad", /iPad/], ["Android", /Android/], ["Windows", /Windows/], ["Mac", /Macintosh/], ["Linux", /Linux/]];
	return android && android !== "K" ? android : (named.find(([, pattern]) => pattern.test(agent))?.[0] ?? "");
}
