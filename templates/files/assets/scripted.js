// Puts in place what only scripts use. It comes inside script elements: text browsers
// show what is hidden, and what is inside template elements. This is the first module of
// each page, since others look for what it puts there, and browsers that can wait for it
// before they show the page do.

for (const block of document.querySelectorAll('script[type="text/html"]')) {
	block.replaceWith(...new DOMParser().parseFromString(block.text, "text/html").body.childNodes);
}
