// What all screens share: one is shown at a time, and one thing may change each second.

const view = document.getElementById("view");
const said = document.getElementById("said");
const brand = document.title;

let eachSecond = () => {};
let leave = () => {};

// show replaces the screen, once the one before it has ended what it began (onLeave).
// Screen readers and the keyboard go to its heading, unless it is the same screen as
// before.
export function show(name, title, nodes, { onSecond = () => {}, onLeave = () => {} } = {}) {
	leave();
	leave = onLeave;
	const same = view.dataset.screen === name;
	view.dataset.screen = name;
	document.title = title === brand ? brand : `${title} · ${brand}`;
	view.replaceChildren(...nodes.filter((node) => node !== null));
	eachSecond = onSecond;
	if (!same) {
		const heading = view.querySelector("h1");
		heading.tabIndex = -1;
		heading.focus({ preventScroll: true });
		scrollTo(0, 0);
	}
	onSecond();
}

export const tick = () => eachSecond();

// say has screen readers say something.
export function say(text) {
	said.textContent = text;
}
