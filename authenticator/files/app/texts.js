// What the app says, in the language that the server chose for its page.

const response = await fetch(`/texts/${document.documentElement.lang}.json`);
const texts = await response.json();

// text returns a text with the values put in. They can't reorder what surrounds them.
export function text(key, values = {}) {
	return (texts[key] ?? key).replace(/\{\{\.(\w+)\}\}/g, (_, name) => {
		const value = values[name];
		return typeof value === "number" ? String(value) : `\u2068${value}\u2069`;
	});
}
