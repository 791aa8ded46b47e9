package harness

// What the browser is asked, as expressions and functions that yield text; ""
// means not there, or not yet.
const (
	jsH1   = `(document.querySelector("h1")?.innerText ?? "").replace(/\s+/g, " ").trim()`
	jsText = `(document.body?.innerText ?? "").replace(/\s+/g, " ").trim()`

	// jsFocus puts the cursor into the first visible input, its text selected.
	jsFocus = `selector => {
		const input = [...document.querySelectorAll(selector)].find(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled);
		if (!input) return "";
		input.scrollIntoView({block: "center", behavior: "instant"});
		input.focus();
		input.select?.();
		return document.activeElement === input ? "yes" : "";
	}`

	// jsPoint is where to click on an element, if a click there reaches it and
	// nothing that lies over it.
	jsPoint = `element => {
		if (!element) return "";
		element.scrollIntoView({block: "center", behavior: "instant"});
		const box = element.getClientRects()[0];
		if (!box) return "";
		const x = box.left + box.width / 2, y = box.top + box.height / 2;
		const hit = document.elementFromPoint(x, y);
		return element.contains(hit) ? JSON.stringify({X: x, Y: y}) : "";
	}`

	jsFindText = `text => {
		const says = e => (e.innerText || e.value || "").replace(/\s+/g, " ").trim() === text;
		const all = document.querySelectorAll("a[href], button, summary, label, input[type=submit], [role=button]");
		const found = [...all].find(e => says(e) && e.checkVisibility({visibilityProperty: true}) && !e.disabled);
		return (` + jsPoint + `)(found);
	}`

	jsFindSelector = `selector => (` + jsPoint + `)([...document.querySelectorAll(selector)].find(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled))`
)
