// What the app says, in the language that the server chose for its page.

const response = await fetch(`/texts/${document.documentElement.lang}.json`);
const texts = await response.json();

// text returns a text with the values put in. A value can't reorder what surrounds it.
export function text(key, values = {}) {
	return (texts[key] ?? key).replace(/\{\{\.(\w+)\}\}/g, (_, name) => `\u2068${values[name] ?? ""}\u2069`);
}
