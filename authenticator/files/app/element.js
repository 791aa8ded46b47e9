// element makes an element. Properties that begin with "on" are listeners, and null
// ones are left out. Children are nodes or texts; texts are never markup.
export function element(tag, properties = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (value === null || value === undefined || value === false) {
			continue;
		}
		if (name.startsWith("on")) {
			made.addEventListener(name.slice(2), value);
		} else {
			made.setAttribute(name, value === true ? "" : value);
		}
	}
	made.append(...children.flat().filter((child) => child !== null && child !== undefined));
	return made;
}

// button makes a button. While what it does is under way, it can't be pressed again.
export function button(label, look, act) {
	const made = element("button", { type: "button", class: look }, label);
	made.addEventListener("click", async () => {
		made.disabled = true;
		try {
			await act();
		} finally {
			made.disabled = false;
		}
	});
	return made;
}
